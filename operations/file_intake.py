"""Taking files in: read whole or refused, stored once, its run started. Idempotent on the content."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from domain.book import BookWriter
from domain.identifiers import Mode
from domain.ledger import AuditDraft, KeyClaim, Posting, PostingResult, RefusalCode
from domain.reconciliation import FileFormat, FileOffer, FileRefusedError, Statement
from operations.line_postings import file_posting
from operations.reconciliation_store import ReconciliationStore
from operations.starting_once import start_once
from rails.registry import Rails
from reconciliation.formats import read_statement
from workflows.policies import BACKGROUND_QUEUE
from workflows.reconciliation import ReconcileFile, ReconciliationWorkflow

AHEAD_MAX = timedelta(days=7)
"""How far ahead a file may date its lines: banks book on the next business day, over long weekends too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenFile:
    """A file that is stored. `new`: False when these bytes had come before. `key_taken`: by another request."""

    file_id: str
    new: bool
    key_taken: bool = False


class FileIntake:
    """Reads, stores and starts files."""

    def __init__(self, *, store: ReconciliationStore, book: BookWriter, temporal: Client, rails: Rails) -> None:
        self._store = store
        self._book = book
        self._temporal = temporal
        self._rails = rails

    async def take(self, offer: FileOffer, claim: KeyClaim | None = None) -> TakenFile:
        """Store a file and have it reconciled; durable on return. Idempotent on the bytes, party, format and merchant.

        Raises:
            FileRefusedError: it is not whole, cannot be read, or its rail is not known. Not retryable.
            ConnectionError, RPCError: something is away. Retryable with the same file.
        """
        if offer.format is FileFormat.ACQUIRER_CSV:
            self._check_rail(offer)
        statement = await asyncio.to_thread(read_statement, offer.content, offer.format, offer.party)
        _check_times(statement)
        await self._store.keep_content(offer.file_id, offer.content)
        result = await self._book.post(file_posting(offer, statement, claim))
        if _taken(result):
            return TakenFile(file_id=offer.file_id, new=False, key_taken=True)
        new = result.refusal is None and not result.duplicate
        if not new and claim is not None and _taken(await self._book.post(_again(offer, claim))):
            return TakenFile(file_id=offer.file_id, new=False, key_taken=True)
        await self._start(offer.file_id)
        return TakenFile(file_id=offer.file_id, new=new)

    async def resume(self) -> int:
        """Start what was stored and not started; return how many files that were. Idempotent."""
        return sum([await self._start(file_id) for file_id in await self._store.unstarted()])

    async def _start(self, file_id: str) -> bool:
        row = await self._store.file(file_id)
        totals = row["document"]["totals"]
        return await start_once(
            self._temporal,
            ReconciliationWorkflow.run,
            ReconcileFile(file_id=file_id),
            run_id=f"reconciliation:{file_id}",
            merchant_id=row["merchant_id"],
            shown={
                "object": "reconciliation_file",
                "status": row["document"]["status"],
                "currency": totals[0]["currency"],
                "amount": totals[0]["net"],
            },
            summary=f"{row['document']['lines']} lines of {row['document']['rail']}",
            task_queue=BACKGROUND_QUEUE,
        )

    def _check_rail(self, offer: FileOffer) -> None:
        if offer.party not in self._rails.names() or (
            self._rails.profile(offer.party).sandbox is not (offer.mode is Mode.TEST)
        ):
            raise FileRefusedError("unknown_rail", f"No rail of this name settles in {offer.mode} mode.")


def _check_times(statement: Statement) -> None:
    """Refuse a file that tells of a time to come: what it covers would be looked for there, and by no later file."""
    told = [line.booked_at for line in statement.lines]
    if statement.covers_until is not None:
        told.append(statement.covers_until)
    if told and max(told) > datetime.now(UTC) + AHEAD_MAX:
        raise FileRefusedError("timestamp_invalid", f"The file tells of times more than {AHEAD_MAX.days} days ahead.")


def _taken(result: PostingResult) -> bool:
    return result.refusal is not None and result.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN


def _again(offer: FileOffer, claim: KeyClaim) -> Posting:
    """Return the commit of a second key for a file that had come before."""
    return Posting(
        key=f"{offer.file_id}:again:{claim.key}",
        merchant_id=offer.merchant_id,
        mode=offer.mode,
        audit=AuditDraft(
            actor=offer.actor,
            action="reconciliation_file.repeated",
            object_id=offer.file_id,
            details={"at": datetime.now(UTC).isoformat()},
        ),
        claim=claim,
    )
