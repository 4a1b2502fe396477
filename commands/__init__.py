"""The `ledgerline` commands, one file each; `cli.py` loads a file when its command is called."""
