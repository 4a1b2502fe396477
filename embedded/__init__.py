"""PostgreSQL, Temporal and the processes of Ledgerline on one machine, without installing anything."""
