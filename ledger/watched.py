"""What the invariant watch last found, for those who ask: reads only."""

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

VIOLATIONS_MOST = 1_000
"""More are not listed; `violations_open` counts them all."""

_REPORTS = "SELECT kind, document FROM ledger_watch_reports"
_VIOLATIONS = """
    SELECT kind, account, entry, currency, detail, found_by,
        to_char(found_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS found_at,
        acknowledged_at IS NOT NULL AS acknowledged
    FROM ledger_violations WHERE gone_at IS NULL ORDER BY acknowledged_at IS NOT NULL, found_at, entry LIMIT %s
"""
_OPEN = "SELECT count(*) AS n FROM ledger_violations WHERE gone_at IS NULL AND acknowledged_at IS NULL"
_STOPPED = "SELECT document ->> 'currency' AS currency FROM payout_stops WHERE status = 'active' ORDER BY 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The last runs' reports (None before the first), violations not gone, currencies whose payouts are stopped.

    `ok`: no violation is open (found, neither gone nor acknowledged by a person).
    """

    incremental: dict[str, Any] | None
    full: dict[str, Any] | None
    violations: list[dict[str, Any]]
    violations_open: int
    stopped: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong that a person has not taken note of."""
        return self.violations_open == 0


async def read_watch(connection: AsyncConnection) -> Watched:
    """Return what the watch knows; run it with a role that sees everything."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_REPORTS)
        reports = {row["kind"]: row["document"] for row in await cursor.fetchall()}
        await cursor.execute(_VIOLATIONS, (VIOLATIONS_MOST,))
        violations = await cursor.fetchall()
        await cursor.execute(_OPEN)
        counted = await cursor.fetchone()
        await cursor.execute(_STOPPED)
        stopped = [row["currency"] for row in await cursor.fetchall()]
    assert counted is not None
    return Watched(
        incremental=reports.get("incremental"),
        full=reports.get("full"),
        violations=violations,
        violations_open=counted["n"],
        stopped=stopped,
    )
