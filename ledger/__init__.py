"""The books: accounts, movements, entries, and the one transaction that changes them."""
