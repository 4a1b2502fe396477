"""The tables as SQLAlchemy Core metadata, for queries of the read models.

The migrations build the schema; this mirrors it (a test compares the two). Amounts are minor units.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    Numeric,
    Table,
    Text,
)

from ledger.columns import big_column as _big
from ledger.columns import bytes_column as _bytes
from ledger.columns import generated_column as _generated
from ledger.columns import instant_column as _instant
from ledger.columns import json_column as _json
from ledger.columns import metadata
from ledger.columns import records_table as _records
from ledger.columns import text_column as _text
from ledger.watch_tables import ledger_watch as ledger_watch
from ledger.webhook_schema import webhook_attempts as webhook_attempts
from ledger.webhook_schema import webhook_cursors as webhook_cursors
from ledger.webhook_schema import webhook_deliveries as webhook_deliveries

merchants = Table("merchants", metadata, _text("id", key=True), _text("name"), _instant("created_at"))
api_keys = Table(
    "api_keys",
    metadata,
    _text("id", key=True),
    _text("merchant_id", null=True),
    _text("mode"),
    _text("kind"),
    _bytes("key_hash"),
    _text("last4"),
    _instant("created_at"),
    _instant("revoked_at", null=True),
)
policies = Table(
    "policies",
    metadata,
    _text("merchant_id", key=True),
    _text("mode", key=True),
    _text("kind", key=True),
    _json("document"),
    Column("version", Integer, nullable=False),
    _instant("updated_at"),
)
accounts = Table(
    "accounts",
    metadata,
    _big("id", key=True),
    _text("code"),
    _text("merchant_id", null=True),
    _text("mode", null=True),
    _text("currency"),
    _text("kind"),
    _text("name", null=True),
    _big("balance_minor"),
    _big("pending_debits_minor"),
    _big("pending_credits_minor"),
    _big("min_balance_minor", null=True),
    _big("max_balance_minor", null=True),
    _text("status"),
    _big("version"),
    _instant("last_recorded_at", null=True),
    _instant("created_at"),
    Column("terms_version", Integer, nullable=False),
)
ledger_clock = Table(
    "ledger_clock",
    metadata,
    Column("one", Boolean, primary_key=True),
    _instant("last_recorded_at"),
    _big("last_ledger_transaction_id"),
    _big("last_movement_id"),
    _big("last_audit_sequence"),
    _bytes("last_audit_hash"),
)
ledger_turn = Table("ledger_turn", metadata, Column("never", Boolean, nullable=True))
ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    _big("id", key=True),
    _text("key"),
    _text("merchant_id"),
    _text("mode"),
    _text("reference", null=True),
    _instant("recorded_at"),
    _bytes("fingerprint"),
)
ledger_periods = Table(
    "ledger_periods",
    metadata,
    _instant("upper_at", key=True),
    _instant("lower_at"),
    _instant("archived_at", null=True),
)
carried_balances = Table(
    "carried_balances",
    metadata,
    _big("account_id", key=True),
    _instant("carried_at", key=True),
    _big("balance_minor"),
    _big("sequence"),
)
movement_keys = Table(
    "movement_keys",
    metadata,
    _text("key", key=True),
    _big("movement_id"),
    _big("amount_minor"),
    _bytes("fingerprint"),
)
# Partitioned by recorded_at (see `ledger/migrations/sql/periods.sql`): ids are unique by partition and by the clock.
movements = Table(
    "movements",
    metadata,
    _big("id"),
    _text("key"),
    _big("ledger_transaction_id"),
    _big("debit_account_id"),
    _big("credit_account_id"),
    _big("amount_minor"),
    _text("currency"),
    _text("kind"),
    _text("reference"),
    _text("phase"),
    _text("hold_key", null=True),
    _instant("recorded_at"),
    _instant("effective_at"),
)
entries = Table(
    "entries",
    metadata,
    _big("id"),
    _big("movement_id"),
    _big("account_id"),
    _big("sequence"),
    _text("direction"),
    _big("amount_minor"),
    _big("balance_minor"),
    _instant("recorded_at"),
    _instant("effective_at"),
)
holds = Table(
    "holds",
    metadata,
    _text("key", key=True),
    _big("debit_account_id"),
    _big("credit_account_id"),
    _text("currency"),
    _big("amount_minor"),
    _big("remaining_minor"),
    _text("status"),
    _text("reference"),
    _instant("created_at"),
    _instant("closed_at", null=True),
)
hold_changes = Table(
    "hold_changes",
    metadata,
    _big("account_id", key=True),
    _instant("recorded_at", key=True),
    _big("pending_debits_minor"),
    _big("pending_credits_minor"),
)
charges = _records(
    "charges",
    _generated("amount_minor", BigInteger),
    _generated("amount_captured", BigInteger),
    _generated("currency", Text),
    _generated("rail", Text),
    _generated("account", Text),
    _generated("source", Text),
)
refunds = _records("refunds", _generated("charge_id", Text), _generated("amount_minor", BigInteger))
payouts = _records("payouts")
transfers = _records("transfers")
disputes = _records("disputes", _generated("charge_id", Text), _generated("amount_minor", BigInteger))
attempts = _records(
    "attempts",
    _generated("operation_id", Text),
    _generated("rail", Text),
    _generated("outcome", Text),
    _generated("card_fingerprint", Text),
    _generated("flow", Text),
)
exceptions = _records("exceptions")
fx_quotes = _records("fx_quotes")
payout_stops = _records("payout_stops")
webhook_endpoints = _records("webhook_endpoints")
reconciliation_files = _records("reconciliation_files")
reconciliation_lines = _records(
    "reconciliation_lines",
    _generated("file_id", Text),
    _generated("number", Integer),
    _generated("rail", Text),
    _generated("reference", Text),
    _generated("batch", Text),
    _generated("subject", Text),
)
reconciliation_contents = Table(
    "reconciliation_contents",
    metadata,
    _text("file_id", key=True),
    _bytes("content"),
    _instant("received_at"),
)
safeguarding_statements = _records("safeguarding_statements")
safeguarding_reconciliations = _records("safeguarding_reconciliations")
safeguarding_breaks = _records("safeguarding_breaks")
vault_tokens = _records("vault_tokens")
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _text("merchant_id", key=True),
    _text("mode", key=True),
    _text("key", key=True),
    _text("fingerprint"),
    _text("route"),
    _json("request"),
    _text("object_kind"),
    _text("object_id"),
    _text("workflow_id", null=True),
    _instant("created_at"),
)
events = Table(
    "events",
    metadata,
    _text("id"),
    _text("merchant_id", key=True),
    _text("mode", key=True),
    _big("sequence", key=True),
    _text("type"),
    _text("object_id"),
    Column("object_version", Integer, nullable=False),
    _instant("created_at"),
    _json("document"),
    _bytes("hash", null=True),
)
audit_records = Table(
    "audit_records",
    metadata,
    _big("sequence", key=True),
    _text("merchant_id"),
    _text("mode"),
    _text("actor"),
    _text("action"),
    _text("object_id"),
    _json("details"),
    _text("posting_key"),
    _instant("recorded_at"),
    _bytes("previous_hash"),
    _bytes("content_hash"),
    _bytes("record_hash"),
    _text("key_id", null=True),
    _bytes("signature", null=True),
)
monthly_volumes = Table(
    "monthly_volumes",
    metadata,
    _text("merchant_id", key=True),
    _text("mode", key=True),
    _text("currency", key=True),
    _text("month", key=True),
    _big("captured_minor"),
)
vault_data_keys = Table(
    "vault_data_keys",
    metadata,
    _text("id", key=True),
    _bytes("wrapped_key"),
    _text("wrapping_key_id"),
    _instant("created_at"),
)
rail_notices = Table(
    "rail_notices",
    metadata,
    _big("id", key=True),
    _text("rail"),
    _text("event_id"),
    _text("kind"),
    _text("rail_key", null=True),
    _text("rail_reference", null=True),
    _json("notice"),
    _text("status"),
    _text("object_id", null=True),
    _text("detail", null=True),
    Column("times_received", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    _instant("received_at"),
    _instant("due_at", null=True),
    _instant("handled_at", null=True),
)
rail_records = Table(
    "rail_records",
    metadata,
    _text("rail", key=True),
    _text("key", key=True),
    _json("document"),
    _instant("created_at"),
    _instant("changed_at"),
)
rail_counters = Table(
    "rail_counters",
    metadata,
    _text("rail", key=True),
    _text("series", key=True),
    _big("last_number"),
)
chain_wallets = Table(
    "chain_wallets",
    metadata,
    _text("chain", key=True),
    _text("address", key=True),
    _big("next_nonce"),
)
chain_orders = Table(
    "chain_orders",
    metadata,
    _text("rail_key", key=True),
    _text("chain"),
    _text("wallet"),
    _big("nonce", null=True),
    _text("destination", null=True),
    _big("amount_minor", null=True),
    _big("gas", null=True),
    _text("status"),
    _text("mined_hash", null=True),
    _big("mined_block", null=True),
    Column("reorganizations", Integer, nullable=False),
    _instant("created_at"),
    _instant("ended_at", null=True),
)
chain_sends = Table(
    "chain_sends",
    metadata,
    _text("hash", key=True),
    _text("rail_key"),
    Column("number", Integer, nullable=False),
    _bytes("raw"),
    Column("max_fee_wei", Numeric, nullable=False),
    Column("priority_fee_wei", Numeric, nullable=False),
    _instant("signed_at"),
)
