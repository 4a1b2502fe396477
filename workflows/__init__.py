"""The stories of money: one workflow a file, pure, on `domain` alone."""
