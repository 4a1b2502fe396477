"""Watching the books: looks, remembers what was found, stops payouts where the books are wrong, tells people.

Decides what a violation sets off. Everything is derived from what is in the database, so a run that dies anywhere is
made up for by the next one: a violation without its stop gets it, an alert that was not delivered is delivered.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from temporalio import activity

from activities.stops import are_payouts_stopped
from domain.book import BookWriter
from domain.payout_stop import VIOLATIONS_NAMED, PayoutStop, StopStatus, stop_posting
from domain.timestamps import rfc3339
from ledger.invariants import Violation
from ledger.violations import acknowledged_changes, remember, stops_needed, store_report
from ledger.watch import PATROL_MOVEMENTS, WatchBusyError, WatchRun, accept_guards, check_new, prove_whole_book, rebase
from operations.alert_formats import Alert
from operations.alert_receivers import AlertNotDeliveredError, AlertReceivers
from workflows.watch_ports import AskStop, BooksWatched, StopPort, WatchPort

BACKLOG_SECONDS_MAX = 2.0
"""How long one run goes on with a backlog before it reports; the next run carries on."""

PROOF_HOURS_MAX = 25
"""Without a proof for so long (the daily one did not run), the watch asks for one itself."""

_log = logging.getLogger("ledgerline.watch")
_ALERTS = "SELECT scope, firing, since, ended_at, violations, first_violations, delivered FROM ledger_alerts"
_PROOF_AGE = "SELECT reported_at < now() - %s * interval '1 hour' FROM ledger_watch_reports WHERE kind = 'full'"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTerms:
    """How often the watch looks (seconds), and how many old movements it looks at again in each run."""

    pause_seconds: float = 5.0
    patrol_movements: int = PATROL_MOVEMENTS


class WatchActivities(WatchPort, StopPort):
    """The watch's port over the database, the poster and the receivers of alerts."""

    def __init__(
        self, *, pool: AsyncConnectionPool, book: BookWriter, receivers: AlertReceivers, terms: WatchTerms
    ) -> None:
        self._pool = pool
        self._book = book
        self._receivers = receivers
        self._terms = terms

    @activity.defn(name="watch_books")
    async def watch_books(self) -> BooksWatched:
        """Verify what is new and a slice of what is old. See `WatchPort.watch_books`."""
        async with self._pool.connection() as connection:
            try:
                run = await self._run(connection)
            except WatchBusyError:
                return BooksWatched(pause_seconds=self._terms.pause_seconds)
            await store_report(connection, "incremental", run.checked_at, _run_document(run))
            await self._act(connection, run.violations, by="incremental", at=run.checked_at)
            return BooksWatched(
                pause_seconds=self._terms.pause_seconds if run.movements_behind == 0 else 0.1,
                proof_due=run.guards_changed or await self._proof_is_old(connection),
                alerts_due=bool(await self._untold(connection)),
            )

    @activity.defn(name="prove_books")
    async def prove_books(self) -> bool:
        """Prove the whole book. See `WatchPort.prove_books`."""
        started = time.monotonic()
        async with self._pool.connection() as connection:
            proof = await prove_whole_book(connection)
            seconds = time.monotonic() - started
            document = {
                "ok": not proof.violations,
                "checked_at": rfc3339(proof.checked_at),
                "seconds": round(seconds, 3),
                "entries_checked": proof.entries_checked,
                "violations_found": len(proof.violations),
            }
            await store_report(connection, "full", proof.checked_at, document)
            await self._act(connection, proof.violations, by="full", at=proof.checked_at)
            if await acknowledged_changes(connection):
                await rebase(connection)
            await accept_guards(connection, proof.guards)
        _log.info("the whole book was proved", extra=document)
        return not proof.violations

    @activity.defn(name="deliver_alerts")
    async def deliver_alerts(self) -> int:
        """Tell every receiver what it was not told yet. See `WatchPort.deliver_alerts`."""
        async with self._pool.connection() as connection:
            untold = await self._untold(connection)
        async with httpx.AsyncClient() as http:
            ends = await asyncio.gather(*(self._tell(http, *one) for one in untold), return_exceptions=True)
        failures = [end for end in ends if isinstance(end, BaseException)]
        for failure in failures:
            if not isinstance(failure, AlertNotDeliveredError):
                raise failure
        if failures:
            raise AlertNotDeliveredError("; ".join(str(failure) for failure in failures))
        return len(ends)

    @activity.defn(name="payouts_stopped")
    async def payouts_stopped(self, request: AskStop) -> bool:
        """Tell whether payouts of a currency are stopped now. See `StopPort.payouts_stopped`."""
        return await are_payouts_stopped(self._pool, request.currency)

    async def _run(self, connection: AsyncConnection) -> WatchRun:
        deadline = time.monotonic() + BACKLOG_SECONDS_MAX
        while True:
            run = await check_new(connection, patrol_movements=self._terms.patrol_movements)
            if run.movements_behind == 0 or run.violations or time.monotonic() > deadline:
                return run

    async def _act(self, connection: AsyncConnection, found: Iterable[Violation], *, by: str, at: datetime) -> None:
        """Remember what was found, log what is new, and stop payouts in every currency that needs it."""
        for violation in await remember(connection, found, by=by, at=at):
            _log.critical("the books are not in order", extra={"found_by": by, **violation})
        for needed in await stops_needed(connection):
            stop = PayoutStop(
                currency=needed.currency,
                version=needed.version + 1,
                status=StopStatus.ACTIVE,
                since=datetime.now(UTC),
                violations=needed.violations[:VIOLATIONS_NAMED],
            )
            result = await self._book.post(stop_posting(stop, actor="ledger-watch"))
            if result.refusal is None and not result.duplicate:
                _log.critical("payouts are stopped", extra={"currency": stop.currency, "exception": stop.exception_id})

    async def _proof_is_old(self, connection: AsyncConnection) -> bool:
        row = await (await connection.execute(_PROOF_AGE, (PROOF_HOURS_MAX,))).fetchone()
        return row is None or bool(row[0])

    async def _untold(self, connection: AsyncConnection) -> list[tuple[str, Alert, str]]:
        """Return (receiver, alert, state) of what is to be told. Whoever was not told that it fires need not be told
        that it ended."""
        now, untold = datetime.now(UTC), []
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_ALERTS)
            rows = await cursor.fetchall()
        for row in rows:
            told = row.pop("delivered")
            row["first_violations"] = tuple(row["first_violations"])
            alert = Alert(**row, instance=self._receivers.instance)
            for name in self._receivers.names():
                state = self._receivers.state(name, alert, now)
                if told.get(name) != state and (alert.firing or name in told):
                    untold.append((name, alert, state))
        return untold

    async def _tell(self, http: httpx.AsyncClient, name: str, alert: Alert, state: str) -> None:
        await self._receivers.tell(http, name, alert)
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE ledger_alerts SET delivered = delivered || jsonb_build_object(%s::text, %s::text)"
                " WHERE scope = %s",
                (name, state, alert.scope),
            )


def _run_document(run: WatchRun) -> dict[str, Any]:
    return {
        "ok": run.ok,
        "checked_at": rfc3339(run.checked_at),
        "movements_behind": run.movements_behind,
        "behind_seconds": round(run.behind_seconds, 3),
        "entries_checked": run.entries_checked,
        "entries_verified": run.entries_verified,
        "entries_patrolled": run.patrolled,
        "violations_found": len(run.violations),
        "currencies": [
            {
                "currency": one.currency,
                "debits": one.debits_minor,
                "credits": one.credits_minor,
                "delta": one.delta_minor,
            }
            for one in run.currencies
        ],
    }
