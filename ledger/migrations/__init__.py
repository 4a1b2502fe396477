"""The schema, built by Alembic."""
