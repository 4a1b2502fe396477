"""A dispute's next state: pure functions from the dispute and what happened to the dispute, its event and facts."""

from dataclasses import dataclass, replace
from datetime import datetime

from domain.dispute import (
    AWAITING_EVIDENCE,
    FINAL_STATUSES,
    Dispute,
    DisputeKind,
    DisputeStatus,
    dispute_document,
    evidence_due_by,
)
from domain.facts import ChargebackReceived, DisputeWon
from domain.identifiers import evidence_operation, rail_key
from domain.rail import Attempt, Flow, RailRequest
from workflows.dispute_messages import DisputeNews, DisputeTold
from workflows.policies import RAIL_DEADLINE_SECONDS
from workflows.update_answer import UpdateAnswer

DisputeFact = ChargebackReceived | DisputeWon


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeStep:
    """The dispute's next state with what it means for money."""

    dispute: Dispute
    event: str | None
    facts: tuple[DisputeFact, ...] = ()


def opened(dispute: Dispute) -> DisputeStep:
    """Return the dispute as it begins: an inquiry moves nothing, a chargeback has taken the money."""
    facts = (chargeback(dispute),) if dispute.kind is DisputeKind.CHARGEBACK else ()
    return DisputeStep(dispute=dispute, event="dispute.created", facts=facts)


def told(dispute: Dispute, news: DisputeTold, now: datetime) -> DisputeStep | None:
    """Return what a rail's notice makes of an open dispute; None for what is known or means nothing here."""
    if dispute.status in FINAL_STATUSES or news.currency != dispute.currency:
        return None
    inquiry = dispute.kind is DisputeKind.INQUIRY
    if news.news is DisputeNews.ESCALATED:
        return _escalated(dispute, news, now) if inquiry else None
    if inquiry:
        # Nothing was taken, so nothing can be won or lost: an inquiry that ends is closed.
        closed = replace(dispute, status=DisputeStatus.WARNING_CLOSED, closed_reason=f"rail_{news.news}")
        return DisputeStep(dispute=closed, event="dispute.closed")
    if news.news is DisputeNews.WON:
        won = replace(dispute, status=DisputeStatus.WON, closed_reason="rail_won")
        return DisputeStep(dispute=won, event="dispute.won", facts=(reinstatement(won),))
    lost = replace(dispute, status=DisputeStatus.LOST, closed_reason=f"rail_{news.news}")
    return DisputeStep(dispute=lost, event="dispute.lost")


def deadline_passed(dispute: Dispute) -> DisputeStep:
    """Return the dispute after its time for evidence went by without any.

    Under the schemes' rules silence accepts a chargeback, so it is lost; no money moves, it was taken
    before. An inquiry stays open: whether it becomes a chargeback is the bank's to say.
    """
    late = replace(dispute, past_due=True)
    if dispute.kind is DisputeKind.INQUIRY:
        return DisputeStep(dispute=late, event="dispute.updated")
    lost = replace(late, status=DisputeStatus.LOST, closed_reason="evidence_deadline_passed")
    return DisputeStep(dispute=lost, event="dispute.lost")


def submitted(dispute: Dispute, now: datetime) -> DisputeStep:
    """Return the dispute once the rail has the evidence."""
    inquiry = dispute.kind is DisputeKind.INQUIRY
    status = DisputeStatus.WARNING_UNDER_REVIEW if inquiry else DisputeStatus.UNDER_REVIEW
    reviewed = replace(dispute, status=status, submitted_at=now, next_check_at=None)
    return DisputeStep(dispute=reviewed, event="dispute.evidence_submitted")


def evidence_conflict(dispute: Dispute) -> UpdateAnswer | None:
    """Return why no evidence is taken now, or None when it is."""
    if dispute.status in AWAITING_EVIDENCE and not dispute.past_due:
        return None
    if dispute.past_due or dispute.closed_reason == "evidence_deadline_passed":
        return conflict_answer(dispute, "evidence_deadline_passed", "The time for evidence is over.")
    if dispute.status in FINAL_STATUSES:
        return conflict_answer(dispute, "dispute_closed", f"The dispute is {dispute.status}.")
    return conflict_answer(dispute, "evidence_already_submitted", "Evidence is submitted once; the bank has it.")


def conflict_answer(dispute: Dispute, code: str, detail: str) -> UpdateAnswer:
    """Return the conflict of evidence that was not taken."""
    return UpdateAnswer(document=dispute_document(dispute), conflict_code=code, conflict_detail=detail)


def evidence_attempt(dispute: Dispute, tag: str, now: datetime) -> Attempt:
    """Return the first attempt to hand evidence to the rail, named by the tag of its idempotency key."""
    operation = evidence_operation(dispute.id, tag)
    return Attempt(
        rail_key=rail_key(operation, 1),
        operation_id=operation,
        number=1,
        rail=dispute.rail,
        flow=Flow.EVIDENCE,
        amount_minor=dispute.amount_minor,
        currency=dispute.currency,
        reason=f"evidence for {dispute.id}",
        requested_at=now,
    )


def evidence_order(dispute: Dispute, attempt: Attempt, *, resumed: bool) -> RailRequest:
    """Return the order that hands the evidence to the rail."""
    return RailRequest(
        rail=dispute.rail,
        flow=Flow.EVIDENCE,
        rail_key=attempt.rail_key,
        amount_minor=dispute.amount_minor,
        currency=dispute.currency,
        merchant_id=dispute.merchant_id,
        mode=dispute.mode,
        original_rail_key=dispute.original_rail_key,
        dispute_reference=dispute.rail_reference,
        evidence=dict(dispute.evidence),
        deadline_seconds=RAIL_DEADLINE_SECONDS,
        resumed=resumed,
    )


def chargeback(dispute: Dispute, *, to_suspense: bool = False) -> ChargebackReceived:
    """Return the fact that the money was taken."""
    return ChargebackReceived(
        dispute_id=dispute.id,
        account=dispute.account,
        rail=dispute.rail,
        amount_minor=dispute.amount_minor,
        fee_minor=dispute.fee_minor,
        currency=dispute.currency,
        to_suspense=to_suspense,
    )


def reinstatement(dispute: Dispute, *, to_suspense: bool = False) -> DisputeWon:
    """Return the fact that the money is back, with the fee where that was agreed."""
    return DisputeWon(
        dispute_id=dispute.id,
        account=dispute.account,
        rail=dispute.rail,
        amount_minor=dispute.amount_minor,
        fee_returned_minor=dispute.fee_minor if dispute.fee_returned_when_won else 0,
        currency=dispute.currency,
        to_suspense=to_suspense,
    )


def _escalated(dispute: Dispute, news: DisputeTold, now: datetime) -> DisputeStep:
    taken = replace(
        dispute,
        kind=DisputeKind.CHARGEBACK,
        status=DisputeStatus.NEEDS_RESPONSE,
        amount_minor=news.amount_minor,
        reason=news.reason or dispute.reason,
        evidence_due_by=evidence_due_by(dispute.scheme, DisputeKind.CHARGEBACK, now),
        submitted_at=None,
        past_due=False,
    )
    return DisputeStep(dispute=taken, event="dispute.escalated", facts=(chargeback(taken),))
