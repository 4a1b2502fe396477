"""The invariant watch's tables, in the same metadata as the books' (`ledger/schema.py`). Amounts are minor units."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from ledger.columns import metadata


def _column(name: str, kind: Any, *, null: bool = False, key: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=null, primary_key=key, autoincrement=False)


_INSTANT = DateTime(timezone=True)

ledger_watch = Table(
    "ledger_watch",
    metadata,
    _column("one", Boolean, key=True),
    _column("movement_id", BigInteger),
    _column("patrol_movement_id", BigInteger),
    _column("patrol_account_id", BigInteger),
    _column("guards", Text, null=True),
)
ledger_watch_totals = Table(
    "ledger_watch_totals",
    metadata,
    _column("currency", Text, key=True),
    _column("debits_minor", BigInteger),
    _column("credits_minor", BigInteger),
    _column("entries", BigInteger),
)
ledger_watch_accounts = Table(
    "ledger_watch_accounts",
    metadata,
    _column("account_id", BigInteger, key=True),
    _column("balance_minor", BigInteger),
    _column("sequence", BigInteger),
    _column("entry_id", BigInteger, null=True),
    _column("recorded_at", _INSTANT, null=True),
    _column("pending_debits_minor", BigInteger),
    _column("pending_credits_minor", BigInteger),
)
ledger_watch_reports = Table(
    "ledger_watch_reports",
    metadata,
    _column("kind", Text, key=True),
    _column("reported_at", _INSTANT),
    _column("document", JSONB),
)
ledger_alerts = Table(
    "ledger_alerts",
    metadata,
    _column("scope", Text, key=True),
    _column("firing", Boolean),
    _column("since", _INSTANT),
    _column("ended_at", _INSTANT, null=True),
    _column("violations", Integer),
    _column("first_violations", JSONB),
    _column("delivered", JSONB),
)
ledger_violations = Table(
    "ledger_violations",
    metadata,
    _column("fingerprint", Text, key=True),
    _column("kind", Text),
    _column("account", Text, null=True),
    _column("entry", Text, null=True),
    _column("currency", Text, null=True),
    _column("detail", Text),
    _column("found_by", Text),
    _column("found_at", _INSTANT),
    _column("seen_at", _INSTANT),
    _column("gone_at", _INSTANT, null=True),
    _column("acknowledged_at", _INSTANT, null=True),
)
