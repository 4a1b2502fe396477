"""Safeguarding as activities: `operations/safeguarding.py` does the work on the worker's connections."""

import logging
from datetime import UTC, datetime

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from temporalio import activity

from domain.book import BookWriter
from domain.safeguarding import Finding
from ledger.safeguarding_alerts import refresh_break_alerts
from operations.safeguarding import SafeguardingTerms, bring_breaks_in_line, days_due, reconcile
from workflows.safeguarding_ports import SafeguardDay, SafeguardingDue, SafeguardingPort

_log = logging.getLogger("ledgerline.safeguarding")


class SafeguardingActivities(SafeguardingPort):
    """The port over the database and the poster."""

    def __init__(
        self, *, pool: AsyncConnectionPool[AsyncConnection[TupleRow]], book: BookWriter, terms: SafeguardingTerms
    ) -> None:
        self._pool = pool
        self._book = book
        self._terms = terms

    @activity.defn(name="safeguarding_due")
    async def safeguarding_due(self) -> SafeguardingDue:
        """Return the days that are due. See `SafeguardingPort.safeguarding_due`."""
        async with self._pool.connection() as connection:
            await bring_breaks_in_line(connection, self._book)
            await refresh_break_alerts(connection, days=self._terms.alert_days)
            days = await days_due(connection, datetime.now(UTC), self._terms)
        fixed = self._terms.fixed_time
        return SafeguardingDue(days=tuple(SafeguardDay(day=day.isoformat(), at=fixed.instant(day)) for day in days))

    @activity.defn(name="reconcile_safeguarding")
    async def reconcile_safeguarding(self, day: SafeguardDay) -> int:
        """Reconcile a day. See `SafeguardingPort.reconcile_safeguarding`."""
        async with self._pool.connection() as connection:
            found = await reconcile(connection, self._book, day.at, self._terms)
            await refresh_break_alerts(connection, days=self._terms.alert_days)
        for one in found:
            if one["status"] != Finding.MATCHED:
                names = ("id", "mode", "currency", "status", "requirement", "resource", "difference", "external")
                _log.warning("safeguarding does not match", extra={name: one[name] for name in names})
        return len(found)
