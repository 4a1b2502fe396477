"""The tables of webhook delivery, mirrored as `ledger/schema.py` does the rest."""

from sqlalchemy import Boolean, Column, Integer, Table

from ledger.columns import big_column, instant_column, metadata, text_column

webhook_cursors = Table(
    "webhook_cursors",
    metadata,
    text_column("id", key=True),
    text_column("endpoint_id"),
    text_column("merchant_id"),
    text_column("mode"),
    text_column("kind"),
    big_column("sequence"),
    big_column("until_sequence", null=True),
    Column("failures", Integer, nullable=False),
    instant_column("next_attempt_at", null=True),
    instant_column("last_success_at", null=True),
    text_column("lease", null=True),
    instant_column("busy_until"),
    instant_column("created_at"),
)
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    text_column("endpoint_id", key=True),
    big_column("sequence", key=True),
    text_column("merchant_id"),
    text_column("mode"),
    text_column("event_id"),
    text_column("event_type"),
    text_column("status"),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("queued", Boolean, nullable=False),
    instant_column("next_attempt_at", null=True),
    instant_column("first_attempt_at"),
    instant_column("last_attempt_at"),
)
webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    text_column("endpoint_id", key=True),
    big_column("sequence", key=True),
    Column("number", Integer, primary_key=True),
    text_column("merchant_id"),
    text_column("mode"),
    instant_column("attempted_at"),
    Column("duration_ms", Integer, nullable=False),
    Column("response_status", Integer, nullable=True),
    text_column("error", null=True),
    text_column("response", null=True),
)
