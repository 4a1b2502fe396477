"""What the watch found, remembered: violations, the alerts they call for, which stops of payouts they need.

Decides when a violation is the same as one found before, when it is gone, and whose business it is (its *scope*: a
currency, `ALL` where none is known, `GUARDS` for the append-only triggers). All functions run on the poster's role
and are idempotent: what is known already is not written again.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from domain.payout_stop import ALL_CURRENCIES
from domain.safeguarding import ALERT_SCOPE
from ledger.invariants import Violation

GUARDS_SCOPE = "GUARDS"
FIRST_VIOLATIONS = 20
"""So many are kept with an alert and a stop; the report has more."""

DRIFTING = frozenset(
    {"balance_mismatch", "entry_count_mismatch", "pending_mismatch", "currency_unbalanced", "verified_totals_changed"}
)
"""Found again with other figures after each new movement: the same violation by kind, account and currency alone."""

EVERY_RUN = ("guard_off", "entry_ahead_of_clock", "movement_ahead_of_clock")
"""Checked completely in every run, so what one run does not find any more is gone."""

INCREMENTAL_ONLY = ("hold_mismatch", "account_missing")
"""Not checked by the proof of the whole book: they go when a person lifts the stop."""

_SCOPE = f"CASE v.kind WHEN 'guard_off' THEN '{GUARDS_SCOPE}' ELSE coalesce(v.currency, '{ALL_CURRENCIES}') END"
_OPEN = "v.gone_at IS NULL AND v.acknowledged_at IS NULL"
_FOUND = """
    INSERT INTO ledger_violations AS v
        (fingerprint, kind, account, entry, currency, detail, found_by, found_at, seen_at)
    SELECT f.fingerprint, f.kind, f.account, f.entry, f.currency, f.detail, %(by)s, %(at)s, %(at)s
    FROM jsonb_to_recordset(%(found)s) AS f (fingerprint text, kind text, account text, entry text, currency text,
        detail text)
    ON CONFLICT (fingerprint) DO UPDATE SET seen_at = excluded.seen_at, gone_at = NULL,
        found_at = CASE WHEN v.gone_at IS NULL THEN v.found_at ELSE excluded.found_at END,
        acknowledged_at = CASE WHEN v.gone_at IS NULL THEN v.acknowledged_at END
    RETURNING xmax = 0 AS new, kind, account, entry, currency, detail
"""
_GONE = """
    UPDATE ledger_violations v SET gone_at = %(at)s
    WHERE v.gone_at IS NULL AND v.seen_at < %(at)s AND CASE %(by)s WHEN 'full' THEN v.kind <> ALL (%(incremental)s)
        ELSE v.kind = ANY (%(every_run)s) END
"""
# A person who lifts a stop has seen what is open in its currency; what is found later stops payouts again.
_ACKNOWLEDGED = f"""
    UPDATE ledger_violations v SET acknowledged_at = (s.document ->> 'lifted_at')::timestamptz
    FROM payout_stops s WHERE s.id = 'stop_' || lower({_SCOPE}) AND s.status = 'lifted' AND {_OPEN}
        AND v.found_at <= (s.document ->> 'lifted_at')::timestamptz
"""
_ALERTS = f"""
    WITH open AS (
        SELECT {_SCOPE} AS scope, count(*) AS violations, min(v.found_at) AS since FROM ledger_violations v
        WHERE {_OPEN} GROUP BY 1
    ), fired AS (
        INSERT INTO ledger_alerts AS a (scope, firing, since, violations, first_violations)
        SELECT o.scope, true, o.since, o.violations, (
            SELECT jsonb_agg(jsonb_build_object('kind', n.kind, 'account', n.account, 'entry', n.entry,
                'detail', n.detail)) FROM (SELECT * FROM ledger_violations v
                WHERE {_OPEN} AND {_SCOPE} = o.scope ORDER BY v.found_at, v.entry LIMIT {FIRST_VIOLATIONS}) n)
        FROM open o
        ON CONFLICT (scope) DO UPDATE SET firing = true, ended_at = NULL, violations = excluded.violations,
            first_violations = excluded.first_violations,
            since = CASE WHEN a.firing THEN a.since ELSE excluded.since END
        WHERE (a.firing, a.violations) IS DISTINCT FROM (true, excluded.violations)
    )
    UPDATE ledger_alerts a SET firing = false, ended_at = clock_timestamp(), violations = 0
    WHERE a.firing AND NOT starts_with(a.scope, '{ALERT_SCOPE}') AND a.scope NOT IN (SELECT scope FROM open)
"""
_NEEDED = f"""
    SELECT {_SCOPE} AS currency, coalesce(s.version, 0) AS version, jsonb_agg(jsonb_build_object('kind', v.kind,
        'account', v.account, 'entry', v.entry, 'detail', v.detail) ORDER BY v.found_at, v.entry) AS violations
    FROM ledger_violations v LEFT JOIN payout_stops s ON s.id = 'stop_' || lower({_SCOPE})
    WHERE {_OPEN} AND v.kind <> 'guard_off' AND s.status IS DISTINCT FROM 'active'
    GROUP BY 1, 2
"""

_CHANGES = """
    SELECT FROM ledger_violations WHERE kind IN ('verified_totals_changed', 'last_entry_changed')
        AND gone_at IS NULL AND acknowledged_at IS NOT NULL LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededStop:
    """A currency with open violations whose payouts are not stopped yet; `version` is its last stop's."""

    currency: str
    version: int
    violations: tuple[Mapping[str, Any], ...]


async def remember(
    connection: AsyncConnection, found: Iterable[Violation], *, by: str, at: datetime
) -> list[dict[str, Any]]:
    """Note what a run found and what it found gone, and bring the alerts in line; return what is new.

    `by` is `incremental` or `full`, `at` when the run looked. In one commit.
    """
    rows = {fingerprint(one): one for one in found}
    documents = [
        {
            "fingerprint": mark,
            "kind": one.kind,
            "account": one.account,
            "entry": one.entry,
            "currency": one.currency,
            "detail": one.detail,
        }
        for mark, one in rows.items()
    ]
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_FOUND.encode(), {"found": Jsonb(documents), "by": by, "at": at})
        new = [row for row in await cursor.fetchall() if row.pop("new")]
        limits = {"by": by, "at": at, "incremental": list(INCREMENTAL_ONLY), "every_run": list(EVERY_RUN)}
        await cursor.execute(_GONE.encode(), limits)
        await cursor.execute(_ACKNOWLEDGED.encode())
        await cursor.execute(_ALERTS.encode())
    return new


async def acknowledged_changes(connection: AsyncConnection) -> bool:
    """Tell whether a person has taken note of a change behind the watch that every proof goes on finding."""
    row = await (await connection.execute(_CHANGES)).fetchone()
    return row is not None


async def stops_needed(connection: AsyncConnection) -> list[NeededStop]:
    """Return the currencies whose payouts must be stopped and are not."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_NEEDED.encode())
        return [
            NeededStop(currency=row["currency"], version=row["version"], violations=tuple(row["violations"]))
            for row in await cursor.fetchall()
        ]


async def store_report(connection: AsyncConnection, kind: str, at: datetime, document: Mapping[str, Any]) -> None:
    """Keep a run's report as the last of its kind."""
    await connection.execute(
        "INSERT INTO ledger_watch_reports (kind, reported_at, document) VALUES (%s, %s, %s) ON CONFLICT (kind)"
        " DO UPDATE SET reported_at = excluded.reported_at, document = excluded.document",
        (kind, at, Jsonb(document)),
    )


def fingerprint(violation: Violation) -> str:
    """Return what makes a violation the same as one found before."""
    parts = [violation.kind, violation.account or "", violation.currency or ""]
    if violation.kind not in DRIFTING:
        parts += [violation.entry or "", violation.detail]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
