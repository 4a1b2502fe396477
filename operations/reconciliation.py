"""Reconciling a file: each line judged, its effects started, its outcome committed once; then what is missing.

Decides the order of effects only; what a line means is `reconciliation/matching.py`'s. A settlement is started
before its line is committed: whoever dies in between finds it started and commits the line.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client

from domain.book import BookWriter
from domain.identifiers import Mode
from domain.inbound import InboundKind, InboundNotice
from domain.ledger import Posting, RefusalCode
from domain.payout_stop import PLATFORM
from domain.rail import Outcome as RailOutcome
from domain.rail import RailAnswer
from domain.reconciliation import FileFormat, FileStatus, LineKind, LineStatus, StatementLine, line_key
from domain.settlement import Settlement
from domain.timestamps import rfc3339
from operations.line_postings import (
    OpenFile,
    Outcome,
    contradicted,
    file_version,
    found_after_all,
    line_exception,
    line_posting,
    missing_exception,
    missing_id,
)
from operations.rail_inbox import RailInbox
from operations.reconciliation_store import ReconciliationStore, Scope
from operations.settlements import settle_charge, settlement_run_id
from rails.registry import Rails
from reconciliation.formats import read_statement
from reconciliation.matching import (
    BookSide,
    EarlierLine,
    Effect,
    Ruling,
    rule_on_correction,
    rule_on_entry,
    rule_on_line,
    rule_on_repeat,
)
from reconciliation.terms import TermsFile

PAGE = 200
FILES_CACHED_MAX = 2
LINES_AT_ONCE_MAX = 32
"""What leaves room for charges at the same workers and connections."""
SETTLED_WITHIN_SECONDS = 5.0
"""How long a line waits for its charge's settlement to be in the books; it follows by itself after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read for a turn of lines: earlier lines by key and by corrected reference, the books by order."""

    holders: dict[str, EarlierLine]
    corrections: dict[str, EarlierLine]
    sides: dict[str, BookSide]
    disputes: dict[str, list[BookSide]]


class Reconciler:
    """Matches files with the books. Any number of processes; a line's first commit stands."""

    def __init__(
        self,
        store: ReconciliationStore,
        book: BookWriter,
        temporal: Client,
        inbox: RailInbox,
        rails: Rails,
        terms: TermsFile,
    ) -> None:
        self._store = store
        self._book = book
        self._temporal = temporal
        self._inbox = inbox
        self._rails = rails
        self._terms = terms
        self._read: dict[str, Any] = {}
        self._room = asyncio.Semaphore(LINES_AT_ONCE_MAX)

    async def match_page(self, file_id: str, after: int) -> tuple[int, bool]:
        """Give the next lines their outcomes; return the last one's number and whether there are no more. Idempotent.

        Raises:
            RPCError, psycopg.OperationalError, ConnectionError: something is away. Retryable.
            ValueError: the terms cannot be read. Retryable, once they can.
        """
        file = await self._open(file_id)
        page = file.statement.lines[after : after + PAGE]
        done = await self._store.outcomes(file_id, [line.number for line in page])
        for turn in in_turns(line for line in page if line.number not in done):
            known = await self._look_up(file, turn)
            await asyncio.gather(*(self._match_in_room(file, line, known) for line in turn))
        return after + len(page), after + len(page) >= len(file.statement.lines)

    async def close(self, file_id: str) -> float | None:
        """Say what a file lacks and close it; the seconds until that may be said, None once it is closed. Idempotent.

        Raises:
            psycopg.OperationalError, ConnectionError: something is away. Retryable.
            ValueError: the terms cannot be read. Retryable, once they can.
        """
        file = await self._open(file_id)
        if file.document["status"] == FileStatus.RECONCILED:
            return None
        since, until = await self._covered(file)
        counts = await self._store.counts(file_id)
        changes = {**counts, "covers_from": rfc3339(since), "covers_until": rfc3339(until)}
        lacking: list[dict[str, Any]] = []
        if since is not None and until is not None:
            due = until + self._terms.of(file.party).grace(file.mode)
            wait = (due - datetime.now(UTC)).total_seconds()
            if wait > 0:
                if file.document["status"] != FileStatus.MATCHED:
                    await self._commit(file_version(file, {**changes, "status": FileStatus.MATCHED.value}))
                return wait
            lacking = await self._store.lacking(_scope(file), file.party, since, until)
            await asyncio.gather(*(self._commit(missing_exception(file, row)) for row in lacking))
        changes["missing"] = len(lacking)
        changes["exceptions"] += len(lacking)
        await self._commit(file_version(file, {**changes, "status": FileStatus.RECONCILED.value}))
        return None

    async def _open(self, file_id: str) -> OpenFile:
        row = await self._store.file(file_id)
        document, kind = row["document"], FileFormat(row["document"]["format"])
        if file_id not in self._read:
            content = await self._store.content(file_id)
            while len(self._read) >= FILES_CACHED_MAX:
                del self._read[next(iter(self._read))]
            self._read[file_id] = await asyncio.to_thread(read_statement, content, kind, document["rail"])
        return OpenFile(
            id=file_id,
            merchant_id=row["merchant_id"],
            mode=Mode(row["mode"]),
            format=kind,
            party=document["rail"],
            actor=row["internal"]["actor"],
            version=row["version"],
            document=document,
            statement=self._read[file_id],
        )

    async def _look_up(self, file: OpenFile, turn: Sequence[StatementLine]) -> _Known:
        scope, rail = _scope(file), file.party
        corrected = [line.corrects for line in turn if line.corrects]
        keys = [_key(file, reference) for reference in (*(line.reference for line in turn), *corrected)]
        holders = await self._store.holders(scope, keys)
        corrections = await self._store.corrections(scope, rail, corrected)
        sides = await self._store.sides(scope, rail, sorted({line.order for line in turn if line.order}))
        charged_back = {
            sides[line.order].object_id for line in turn if line.kind is LineKind.CHARGEBACK and line.order in sides
        }
        disputes = await self._store.disputes(scope, sorted(charged_back))
        return _Known(holders=holders, corrections=corrections, sides=sides, disputes=disputes)

    async def _match_in_room(self, file: OpenFile, line: StatementLine, known: _Known) -> None:
        async with self._room:
            await self._match(file, line, known)

    async def _match(self, file: OpenFile, line: StatementLine, known: _Known) -> None:
        outcome = await self._judge(file, line, known)
        if outcome.ruling.effect is Effect.SETTLE:
            outcome = await self._settle(outcome)
        elif outcome.ruling.effect is Effect.TELL:
            await self._tell(outcome)
        together: list[Posting] = []
        if outcome.ruling.status is LineStatus.EXCEPTION and outcome.exception_id is None:
            together.append(line_exception(file, outcome))
        missed = None
        if outcome.side is not None and outcome.prior is None:
            missed = await self._store.open_exception(missing_id(file.mode, file.party, outcome.side.object_id))
        if missed is not None:
            outcome = replace(outcome, late=True)
            together.append(found_after_all(file, line, missed))
        for posting in together:
            if posting.merchant_id != file.merchant_id:
                await self._commit(posting)
        own = tuple(posting for posting in together if posting.merchant_id == file.merchant_id)
        result = await self._book.post(line_posting(file, outcome, own))
        if result.refusal is not None and result.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            # Another file brought the same reference at the same time.
            await self._match(file, line, await self._look_up(file, [line]))
            return
        # Other facts under the line's own key: it had been committed before, and that stands.
        known_codes = (None, RefusalCode.EXISTS_WITH_DIFFERENT_FACTS)
        assert (result.refusal.code if result.refusal is not None else None) in known_codes, result.refusal

    async def _judge(self, file: OpenFile, line: StatementLine, known: _Known) -> Outcome:
        terms = self._terms.of(line.rail or file.party)
        tolerance = terms.tolerance(line.currency)
        day = terms.day(line.booked_at)
        repeated = known.holders.get(_key(file, line.reference))
        if repeated is not None:
            return Outcome(line=line, ruling=rule_on_repeat(line, repeated), prior=repeated, day=day)
        side = _side_of(line, known)
        if line.kind is LineKind.ENTRY:
            return Outcome(line=line, ruling=await self._rule_on_entry(file, line, tolerance), day=day)
        if line.corrects:
            first = known.holders.get(_key(file, line.corrects))
            prior = known.corrections.get(line.corrects, first)
            ruling = rule_on_correction(line, prior, tolerance)
            if ruling is not None:
                return Outcome(line=line, ruling=ruling, prior=prior, day=day)
        late = side is not None and side.moved_at is not None and terms.is_late(line.booked_at, side.moved_at)
        return Outcome(line=line, ruling=rule_on_line(line, side, tolerance), side=side, day=day, late=late)

    async def _rule_on_entry(self, file: OpenFile, line: StatementLine, tolerance: int) -> Ruling:
        if line.rail not in self._rails.names():
            return rule_on_entry(replace(line, rail=""), 0, tolerance)
        batches = [batch for batch in line.batch.split("+") if batch]
        owed = await self._store.owed(_scope(file), line.rail, line.currency, batches) if batches else 0
        return rule_on_entry(line, owed, tolerance)

    async def _settle(self, outcome: Outcome) -> Outcome:
        """Have the charge settled; where its run contradicts, the exception is the one it opened."""
        line, side = outcome.line, outcome.side
        assert side is not None and side.kind == "charge"
        settlement = Settlement(
            charge_id=side.object_id,
            merchant_id=side.merchant_id,
            mode=side.mode,
            rail=line.rail,
            reference=line.reference,
            gross_minor=outcome.ruling.expected_minor,
            currency=line.currency,
            rail_fee_minor=line.fee_minor,
            settled_at=line.booked_at,
        )
        await settle_charge(self._temporal, settlement)
        if side.document["status"] not in ("captured", "settled"):
            return outcome
        handle = self._temporal.get_workflow_handle(settlement_run_id(settlement))
        try:
            async with asyncio.timeout(SETTLED_WITHIN_SECONDS):
                document: dict[str, Any] = await handle.result()
        except TimeoutError:
            return outcome
        if document["object"] == "exception":
            return contradicted(outcome, document["id"], document["detail"])
        return outcome

    async def _tell(self, outcome: Outcome) -> None:
        """Tell the order's own run that the rail did it: what settled was done."""
        side, line = outcome.side, outcome.line
        assert side is not None
        notice = InboundNotice(
            rail=line.rail,
            event_id=f"line:{line.reference}:{side.rail_key}",
            kind=InboundKind.OUTCOME,
            rail_key=side.rail_key,
            answer=RailAnswer(outcome=RailOutcome.APPROVED),
        )
        await self._inbox.take((notice,))

    async def _covered(self, file: OpenFile) -> tuple[datetime | None, datetime | None]:
        """Return the span of the books that a file should have lines for; bank statements cover none."""
        span = await self._store.span(file.id)
        if file.format is not FileFormat.ACQUIRER_CSV:
            return None, None
        terms, until = self._terms.of(file.party), file.statement.covers_until
        if until is None and span is not None:
            until = terms.end(terms.day(span[1]) - timedelta(days=terms.days_due))
        if until is None:
            return None, None
        stamp = rfc3339(until)
        assert stamp is not None
        since = await self._store.covered(_scope(file), file.party, stamp)
        if since is None and span is not None:
            since = terms.end(terms.day(span[0]) - timedelta(days=1 + terms.days_due))
        return (since, until) if since is not None and since < until else (None, until)

    async def _commit(self, posting: Posting) -> None:
        result = await self._book.post(posting)
        known = (None, RefusalCode.EXISTS_WITH_DIFFERENT_FACTS)
        assert (result.refusal.code if result.refusal is not None else None) in known, result.refusal


def in_turns(lines: Iterable[StatementLine]) -> Iterable[list[StatementLine]]:
    """Yield lines in turns: within one, none depends on another of the same reference, order or batch."""
    turn: list[StatementLine] = []
    seen: set[tuple[str, str]] = set()
    for line in lines:
        names = {("line", line.reference), ("line", line.corrects), ("order", line.order)}
        if line.kind is LineKind.ENTRY:
            names |= {("batch", batch) for batch in line.batch.split("+")}
        names -= {("line", ""), ("order", ""), ("batch", "")}
        if names & seen:
            yield turn
            turn, seen = [], set()
        turn.append(line)
        seen |= names
    if turn:
        yield turn


def _key(file: OpenFile, reference: str) -> str:
    return line_key(file.format, file.party, reference)


def _scope(file: OpenFile) -> Scope:
    return Scope(merchant_id=file.merchant_id, mode=file.mode, everybody=file.merchant_id == PLATFORM)


def _side_of(line: StatementLine, known: _Known) -> BookSide | None:
    """Return what the books have of a line's order; of a chargeback the dispute, best one of the same amount."""
    side = known.sides.get(line.order)
    if line.kind is not LineKind.CHARGEBACK or side is None:
        return side
    disputes = known.disputes.get(side.object_id, [])
    same = [one for one in disputes if one.document["amount"] == -line.gross_minor]
    found = same or disputes
    return found[-1] if found else None
