"""The rail toy for Ledgerline."""
