"""Bringing a rail's notice to what it is about, until the books agree with it.

Decides only where a notice goes. A notice never changes the books itself: a workflow does, and it is told as
often as needed, for all of them take a repeated notice as the one they had. What the books contradict is kept
for a person, with an exception.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.book import BookWriter
from domain.identifiers import Mode, encode_base32, rail_key, workflow_id
from domain.inbound import InboundKind, InboundNotice, InboundStatus
from domain.ledger import AuditDraft, Posting, Record, RecordKind
from domain.money import format_amount
from domain.notice import NoticeKind, RailNotice
from domain.orphan import Orphan
from domain.rail import DEFINITE_OUTCOMES, Flow, Outcome
from domain.settlement import Settlement
from operations.disputes import NEWS, OPENINGS, dispute_names, read_dispute_terms, start_dispute, tell_dispute
from operations.notice_store import Progress
from operations.settlements import settle_charge
from operations.starting_once import start_once
from workflows.orphan import OrphanWorkflow, StartOrphan
from workflows.rail_notice import RailNoticeWorkflow, StartRailNotice
from workflows.rail_notices import HearsRails, RailNews

_ATTEMPT = """
SELECT a.id AS rail_key, a.operation_id, a.outcome, a.flow, a.merchant_id, a.mode, o.id AS object_id, o.document,
    coalesce((SELECT e.document ->> 'workflow_id' FROM exceptions e
        WHERE e.id = 'exc_orphan_' || nullif(split_part(a.operation_id, '.orphan-', 2), '')),
        o.document ->> 'workflow_id') AS workflow_id
FROM attempts a
JOIN LATERAL (
    SELECT id, document FROM charges UNION ALL SELECT id, document FROM refunds UNION ALL
    SELECT id, document FROM payouts
) o ON o.id = split_part(a.operation_id, '.', 1)
WHERE a.rail = %(rail)s AND {named}
ORDER BY a.created_at, a.id LIMIT 1
"""
_LATE_WORD_ABOUT = {
    NoticeKind.REFUND_FAILED: "re_",
    NoticeKind.PAYOUT_PAID: "po_",
    NoticeKind.PAYOUT_FAILED: "po_",
    NoticeKind.PAYOUT_RETURNED: "po_",
    NoticeKind.DISPUTE_WON: "dp_",
    NoticeKind.DISPUTE_LOST: "dp_",
    NoticeKind.DISPUTE_CLOSED: "dp_",
    NoticeKind.DISPUTE_ESCALATED: "dp_",
}
_BY_KEY = _ATTEMPT.format(named="a.id = %(rail_key)s")
_BY_REFERENCE = _ATTEMPT.format(named="a.document ->> 'rail_reference' = %(rail_reference)s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The order a notice is about, as the books have it. `document` is the charge's, refund's or payout's;
    `workflow_id` is the run that waits for this order, which an orphan's reversal has of its own."""

    rail_key: str
    flow: Flow
    outcome: Outcome
    merchant_id: str
    mode: Mode
    object_id: str
    document: dict[str, Any]
    workflow_id: str


class NoticeDelivery:
    """Matches notices to orders and tells the workflows that wait for them."""

    def __init__(self, *, pool: AsyncConnectionPool, temporal: Client, book: BookWriter) -> None:
        self._pool = pool
        self._temporal = temporal
        self._book = book

    async def deliver(self, notice: InboundNotice) -> Progress:
        """Return how far the notice has come. Idempotent.

        Raises:
            RPCError, psycopg.OperationalError, ConnectionError: something is away. Retryable.
        """
        matched = await self._match(notice)
        if matched is None:
            return Progress(status=InboundStatus.UNMATCHED, detail="No order of ours has this key or reference.")
        if notice.kind in OPENINGS:
            return await self._open_dispute(notice, matched)
        if notice.kind in NEWS:
            return await self._tell_dispute(notice, matched)
        if notice.kind is InboundKind.CHARGE_SETTLED:
            return await self._settle(notice, matched)
        if notice.kind is InboundKind.OUTCOME:
            return await self._deliver_outcome(notice, matched)
        return await self._deliver_late_word(NoticeKind(notice.kind.value), notice, matched)

    async def _match(self, notice: InboundNotice) -> Matched | None:
        named = {"rail": notice.rail, "rail_key": notice.rail_key, "rail_reference": notice.rail_reference}
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            statement = _BY_KEY if notice.rail_key is not None else _BY_REFERENCE
            row = await (await cursor.execute(statement, named)).fetchone()
        if row is None:
            return None
        return Matched(
            rail_key=row["rail_key"],
            flow=Flow(row["flow"]),
            outcome=Outcome(row["outcome"]),
            merchant_id=row["merchant_id"],
            mode=Mode(row["mode"]),
            object_id=row["object_id"],
            document=row["document"],
            workflow_id=row["workflow_id"],
        )

    async def _open_dispute(self, notice: InboundNotice, matched: Matched) -> Progress:
        merchant_id, mode, charge = matched.merchant_id, matched.mode, matched.document
        if not matched.object_id.startswith("ch_"):
            return await self._keep(notice, matched, f"A dispute is not about {matched.object_id}.")
        terms = await read_dispute_terms(self._pool, merchant_id=merchant_id, mode=mode, charge=charge)
        dispute_id = await start_dispute(
            self._temporal, notice, terms, merchant_id=merchant_id, mode=mode, charge=charge
        )
        return Progress(status=InboundStatus.HANDLED, object_id=dispute_id)

    async def _tell_dispute(self, notice: InboundNotice, matched: Matched) -> Progress:
        """Tell a dispute what came next; after its end a run of its own applies or keeps the word."""
        dispute_id, run_id = dispute_names(notice, matched.merchant_id, matched.mode)
        if not await self._is_stored(dispute_id):
            # Notices overtake one another: the one that opens the dispute may still be on its way.
            return Progress(status=InboundStatus.UNMATCHED, detail="No dispute of ours has this reference.")
        if not await tell_dispute(self._temporal, notice, NEWS[notice.kind], dispute_run=run_id):
            about = replace(matched, object_id=dispute_id)
            return await self._deliver_late_word(NoticeKind(notice.kind.value), notice, about)
        return Progress(status=InboundStatus.HANDLED, object_id=dispute_id)

    async def _settle(self, notice: InboundNotice, matched: Matched) -> Progress:
        if not matched.object_id.startswith("ch_"):
            return await self._keep(notice, matched, f"A settlement is not about {matched.object_id}.")
        settlement = Settlement(
            charge_id=matched.object_id,
            merchant_id=matched.merchant_id,
            mode=matched.mode,
            rail=notice.rail,
            reference=notice.reference or notice.event_id,
            gross_minor=notice.amount_minor or matched.document["amount_captured"],
            currency=notice.currency or matched.document["currency"],
            rail_fee_minor=notice.fee_minor,
        )
        await settle_charge(self._temporal, settlement)
        return Progress(status=InboundStatus.HANDLED, object_id=matched.object_id)

    async def _is_stored(self, dispute_id: str) -> bool:
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT FROM disputes WHERE id = %s", (dispute_id,))
            return await cursor.fetchone() is not None

    async def _deliver_outcome(self, notice: InboundNotice, matched: Matched) -> Progress:
        told = notice.answer.outcome if notice.answer is not None else Outcome.PENDING
        if matched.outcome in DEFINITE_OUTCOMES:
            orphan = orphaned(notice, matched)
            if orphan is not None:
                await self._start_orphan(orphan)
                return Progress(status=InboundStatus.HANDLED, object_id=orphan.id)
            if told not in DEFINITE_OUTCOMES or agree(matched.outcome, told):
                return Progress(status=InboundStatus.HANDLED, object_id=matched.object_id, detail="The books agree.")
            late = undone_by(matched, told)
            if late is not None:
                return await self._deliver_late_word(late, notice, matched)
            return await self._keep(notice, matched, f"The rail says {told}, the books say {matched.outcome}.")
        if not await self._tell(notice, matched):
            return await self._keep(notice, matched, f"The rail says {told}, and nothing waits for it any more.")
        if told not in DEFINITE_OUTCOMES:
            return Progress(status=InboundStatus.HANDLED, object_id=matched.object_id, detail="The rail is asked.")
        # Not through before the books say so: what was told to a workflow may have died with its server.
        return Progress(
            status=InboundStatus.RECEIVED, object_id=matched.object_id, detail="Told, not in the books yet."
        )

    async def _tell(self, notice: InboundNotice, matched: Matched) -> bool:
        """Signal the workflow of the order; False if it has ended."""
        news = RailNews(rail_key=matched.rail_key, event_id=notice.event_id, answer=notice.answer)
        try:
            await self._temporal.get_workflow_handle(matched.workflow_id).signal(HearsRails.rail_told, news)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    async def _start_orphan(self, orphan: Orphan) -> None:
        """Start the run that gives back what the rail did after the charge had ended without it."""
        await start_once(
            self._temporal,
            OrphanWorkflow.run,
            StartOrphan(orphan=orphan, told_by_rail=True),
            run_id=orphan.workflow_id,
            merchant_id=orphan.merchant_id,
            shown={
                "object": "orphan",
                "status": orphan.status.value,
                "currency": orphan.currency,
                "amount": orphan.amount_minor,
            },
            summary=f"{orphan.rail} did {orphan.effect_key} after all",
        )

    async def _deliver_late_word(self, kind: NoticeKind, notice: InboundNotice, matched: Matched) -> Progress:
        """Start the run that applies a late word about money the rail had answered for, or keeps it for a person."""
        if not matched.object_id.startswith(_LATE_WORD_ABOUT[kind]):
            return await self._keep(notice, matched, f"A notice of kind {kind} is not about {matched.object_id}.")
        late = late_word(kind, notice, matched)
        await start_once(
            self._temporal,
            RailNoticeWorkflow.run,
            StartRailNotice(notice=late),
            run_id=workflow_id(late.merchant_id, late.mode, f"notice:{late.rail}:{late.kind}:{late.reference}"),
            merchant_id=late.merchant_id,
            shown={
                "object": "notice",
                "status": late.kind.value,
                "currency": late.currency,
                "amount": late.amount_minor,
            },
            summary=f"{kind}: {format_amount(late.amount_minor, late.currency)} of {late.object_id}, {late.rail}",
        )
        return Progress(status=InboundStatus.HANDLED, object_id=matched.object_id)

    async def _keep(self, notice: InboundNotice, matched: Matched, detail: str) -> Progress:
        """Open an exception about a notice that nothing automatic may act on."""
        record = contradiction(notice, matched, detail)
        await self._book.post(
            Posting(
                key=f"{record.id}:1",
                merchant_id=matched.merchant_id,
                mode=matched.mode,
                audit=AuditDraft(actor=f"rail:{notice.rail}", action="exception.opened", object_id=record.id),
                records=(record,),
            )
        )
        return Progress(status=InboundStatus.KEPT, object_id=matched.object_id, detail=detail)


def agree(stored: Outcome, told: Outcome) -> bool:
    """Tell whether two definite outcomes come to the same: money moved, or it did not."""
    return (stored is Outcome.APPROVED) == (told is Outcome.APPROVED)


def orphaned(notice: InboundNotice, matched: Matched) -> Orphan | None:
    """Return what a rail did for a charge without its books: after it had ended, or a second time (rule 10)."""
    approved = notice.answer is not None and notice.answer.outcome is Outcome.APPROVED
    taking = matched.flow in (Flow.AUTHORIZE, Flow.CAPTURE)
    effect_key = notice.effect_key or matched.rail_key
    if not approved or not taking or (matched.outcome is Outcome.APPROVED and effect_key == matched.rail_key):
        return None
    charge, capture = matched.document, matched.flow is Flow.CAPTURE
    return Orphan(
        merchant_id=matched.merchant_id,
        mode=matched.mode,
        charge=charge["id"],
        rail=notice.rail,
        rail_key=matched.rail_key,
        effect_key=effect_key,
        flow=matched.flow,
        taken=capture or charge["capture"],
        amount_minor=notice.amount_minor or charge["amount"],
        currency=notice.currency or charge["currency"],
        original_rail_key=authorization_key(charge) if capture else effect_key,
        created_at=datetime.now(UTC),
    )


def authorization_key(charge: dict[str, Any]) -> str:
    """Return the rail's key of the authorization that a charge's captures refer to."""
    number = next(attempt["number"] for attempt in charge["attempts"] if attempt["outcome"] == Outcome.APPROVED)
    return rail_key(charge["id"], number)


def undone_by(matched: Matched, told: Outcome) -> NoticeKind | None:
    """Return the late word that a definite no is about a refund or payout the rail had said yes to."""
    if matched.outcome is not Outcome.APPROVED or told is Outcome.APPROVED:
        return None
    kinds = (NoticeKind.REFUND_FAILED, NoticeKind.PAYOUT_FAILED)
    return next((kind for kind in kinds if matched.object_id.startswith(_LATE_WORD_ABOUT[kind])), None)


def late_word(kind: NoticeKind, notice: InboundNotice, matched: Matched) -> RailNotice:
    """Return a notice matched to its refund or payout; without an amount of its own it is about all of it."""
    code = notice.answer.decline_code if notice.answer is not None else None
    return RailNotice(
        kind=kind,
        object_id=matched.object_id,
        merchant_id=matched.merchant_id,
        mode=matched.mode,
        rail=notice.rail,
        rail_key=matched.rail_key,
        reference=notice.reference or notice.event_id,
        amount_minor=notice.amount_minor or matched.document["amount"],
        currency=notice.currency or matched.document["currency"],
        reason=notice.reason or code,
    )


def contradiction(notice: InboundNotice, matched: Matched, detail: str) -> Record:
    """Return the exception about a notice the books contradict; its id derives from the rail's event."""
    digest = hashlib.sha256(f"{notice.rail}/{notice.event_id}".encode()).digest()
    exception_id = f"exc_{encode_base32(int.from_bytes(digest[:16], 'big'), 26)}"
    return Record(
        kind=RecordKind.EXCEPTION,
        id=exception_id,
        version=1,
        document={
            "id": exception_id,
            "object": "exception",
            "kind": "rail_notice",
            "status": "open",
            "subject": matched.object_id,
            "rail": notice.rail,
            "rail_key": matched.rail_key,
            "detail": detail,
            "notice": {
                "event": notice.event_id,
                "kind": notice.kind.value,
                "reference": notice.reference or notice.rail_reference,
                "amount": notice.amount_minor,
                "currency": notice.currency,
                "reason": notice.reason,
            },
        },
    )
