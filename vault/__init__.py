"""The one place where card numbers exist, encrypted under wrapped data keys."""
