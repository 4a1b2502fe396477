"""The HTTP API: one file per object, problem documents, idempotent writes."""
