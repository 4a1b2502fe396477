"""SEPA credit transfers: ordinary ones through a bank, instant ones through a clearing."""
