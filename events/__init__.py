"""Reading the event log by its per-merchant sequence."""
