"""Runs the revisions on the connection `ledger.migrate` hands over; it decides nothing itself."""

from alembic import context
from sqlalchemy import Connection

connection = context.config.attributes["connection"]
assert isinstance(connection, Connection), "run migrations through ledger.migrate"
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
