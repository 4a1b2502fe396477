"""Killing the product at every await of its own code."""
