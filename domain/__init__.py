"""Vocabulary of the payments core: plain values, standard library only."""
