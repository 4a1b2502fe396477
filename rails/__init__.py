"""Rails: what can move money outside the ledger, how one is chosen, and how its answers are read."""
