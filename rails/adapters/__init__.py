"""One package per rail provider; adapters never import one another."""
