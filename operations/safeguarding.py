"""Reconciling what is safeguarded at an instant, and bringing the breaks in line with what was found.

Everything is idempotent on the instant: a run that died is taken up by the next one, a run that is repeated changes
nothing. Who runs it, and when, is `workflows/safeguarding.py` and `api/safeguarding.py`.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from psycopg import AsyncConnection

from domain.book import BookWriter
from domain.fixed_time import FixedTime
from domain.identifiers import Mode
from domain.ledger import AuditDraft, Posting, Record, RecordKind, RefusalCode
from domain.payout_stop import PLATFORM
from domain.safeguarding import Document, reconciliation_document, stamp
from domain.safeguarding_breaks import MACHINE, Break, Compared, compared_from, next_change
from domain.timestamps import rfc3339
from ledger.balances import settled_instant
from ledger.safeguarded import (
    book_was_empty,
    committed_keys,
    has_line,
    last_break,
    latest_reconciliations,
    positions_at,
    reconciliations_of,
)

CATCH_UP_DAYS = 31
"""Days missed while nothing ran are made up for, this far back: their figures are still what they were."""

NINE_IN_LONDON = FixedTime(hour=9, minute=0, zone="Europe/London")
"""When the day is reconciled unless it is configured: after banks have sent their statements of the night."""

ROUNDS_MAX = 20
"""How often a change of a break is tried while others change the same scope."""


class InstantToComeError(Exception):
    """The instant is not over by the database's clock. Retryable once it is."""


class BreakInUseError(Exception):
    """Others kept changing the same break. Retryable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeguardingTerms:
    """When the daily run looks, and how old a bank's statement may be to be compared with."""

    fixed_time: FixedTime = NINE_IN_LONDON
    statement_age_max: timedelta = timedelta(hours=84)
    alert_days: int = 3


async def reconcile(
    connection: AsyncConnection, book: BookWriter, at: datetime, terms: SafeguardingTerms
) -> list[Document]:
    """Return the reconciliations of an instant, one for each mode and currency, made now unless they were before.

    Idempotent on `at`: the figures are of that instant, whenever this runs. Breaks are in line afterwards.

    Raises:
        InstantToComeError: `at` is not over. Retryable once it is.
        ArchivedError: `at` is before the book begins. Not retryable.
        ConnectionError: the database is away. Retryable.
    """
    settled = await settled_instant(connection, at)
    if settled < at:
        raise InstantToComeError(f"{rfc3339(at)} is not over; it is {rfc3339(settled)}")
    found: list[Document] = []
    for mode in Mode:
        if not await committed_keys(connection, [run_key(mode, at)]):
            await _commit_run(connection, book, mode, at, terms)
        found += await reconciliations_of(connection, mode, at)
    await bring_breaks_in_line(connection, book, found)
    return found


async def bring_breaks_in_line(
    connection: AsyncConnection, book: BookWriter, reconciliations: Iterable[Document] | None = None
) -> None:
    """Open, carry and end breaks as the reconciliations say; those of the latest instant if none are given.

    Idempotent on each reconciliation and scope.

    Raises:
        BreakInUseError: others kept changing the same scope. Retryable.
    """
    if reconciliations is None:
        reconciliations = await latest_reconciliations(connection)
    for reconciliation in reconciliations:
        for compared in compared_from(reconciliation):
            await _follow(connection, book, compared)


async def days_due(connection: AsyncConnection, now: datetime, terms: SafeguardingTerms) -> list[date]:
    """Return the days whose fixed time has come and that were not reconciled, oldest first.

    Days before the last one that was, and days on which the book had no account yet, are not due.
    """
    days = list(itertools.islice(terms.fixed_time.latest(now), CATCH_UP_DAYS))
    keys = {day: [run_key(mode, terms.fixed_time.instant(day)) for mode in Mode] for day in days}
    done = await committed_keys(connection, [key for each in keys.values() for key in each])
    due = list(itertools.takewhile(lambda day: not done.issuperset(keys[day]), days))
    if len(due) == len(days):
        # Nobody ever reconciled, or not for a month: begin with the latest.
        due = due[:1]
    return [day for day in reversed(due) if not await book_was_empty(connection, terms.fixed_time.instant(day))]


def run_key(mode: Mode, at: datetime) -> str:
    """Return the posting key of an instant's reconciliations in a mode: they commit once and together."""
    return f"safeguarding:{mode}:{stamp(at)}"


async def _commit_run(
    connection: AsyncConnection, book: BookWriter, mode: Mode, at: datetime, terms: SafeguardingTerms
) -> None:
    day = terms.fixed_time.day_of(at)
    positions = await positions_at(connection, mode, at, statement_age_max=terms.statement_age_max)
    documents = [reconciliation_document(one, None if day is None else day.isoformat()) for one in positions]
    results = {document["id"]: document["status"] for document in documents}
    result = await book.post(
        Posting(
            key=run_key(mode, at),
            merchant_id=PLATFORM,
            mode=mode,
            audit=AuditDraft(
                actor=MACHINE,
                action="safeguarding.reconciled",
                object_id=f"sfn_{stamp(at)}",
                details={"at": rfc3339(at), "reconciliations": results},
            ),
            records=tuple(
                Record(
                    kind=RecordKind.SAFEGUARDING_RECONCILIATION,
                    id=document["id"],
                    version=1,
                    document=document,
                    create_only=True,
                )
                for document in documents
            ),
        )
    )
    assert result.refusal is None, f"the figures of {rfc3339(at)} changed: {result.refusal}"


async def _follow(connection: AsyncConnection, book: BookWriter, compared: Compared) -> None:
    """Make the changes a comparison calls for, until there is none left."""
    for _ in range(ROUNDS_MAX):
        last = await last_break(connection, compared.scope)
        change = next_change(last, await _with_late_line(connection, last, compared))
        if change is None:
            return
        result = await book.post(change.posting())
        refused = result.refusal
        assert refused is None or refused.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, refused
    raise BreakInUseError(f"{compared.scope} is being changed by others")


async def _with_late_line(connection: AsyncConnection, last: Break | None, compared: Compared) -> Compared:
    """Return the comparison, knowing whether its statement has the line that the open break was waiting for.

    The books had 90.00 more than the bank yesterday, a shortfall of 90.00; today's statement has a line of 90.00.
    """
    if last is None or not last.open or compared.statement is None:
        return compared
    gone = compared.difference_minor - last.document["difference"]
    late = bool(gone) and await has_line(connection, compared.statement, gone)
    return replace(compared, late_line=late)
