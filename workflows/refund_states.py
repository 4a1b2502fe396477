"""A refund's next state: pure functions, and the order and attempt that go to its rail."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from domain.facts import RefundReserved
from domain.identifiers import rail_key
from domain.rail import Attempt, Flow, RailRequest
from domain.refund import Refund, RefundStatus, refund_document
from domain.refund_policy import OnLowBalance, RefundPolicy
from workflows.policies import RAIL_DEADLINE_SECONDS
from workflows.update_answer import UpdateAnswer

AWAITING_FUNDS = "awaiting_funds"


def fact_terms(refund: Refund) -> dict[str, Any]:
    """Return what every fact about a refund says."""
    return {
        "refund_id": refund.id,
        "account": refund.account,
        "rail": refund.rail,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
    }


def reservation(refund: Refund, policy: RefundPolicy) -> RefundReserved:
    """Return the fact that money is set aside; with a policy of going negative, down to the merchant's limit."""
    negative = policy.on_low_balance is OnLowBalance.NEGATIVE
    limit = policy.negative_limits.get(refund.currency, 0) if negative else 0
    return RefundReserved(**fact_terms(refund), floor_minor=-limit if limit else None)


def awaiting_funds(refund: Refund, policy: RefundPolicy, now: datetime) -> Refund:
    """Return the refund while it waits for the merchant's account to cover it."""
    until = now + timedelta(seconds=policy.wait_seconds_max)
    return replace(refund, status=RefundStatus.PENDING, pending_reason=AWAITING_FUNDS, waits_until=until)


def is_awaiting_funds(refund: Refund) -> bool:
    """Tell whether nothing has been set aside yet."""
    return refund.pending_reason == AWAITING_FUNDS


def ended_without_order(refund: Refund, code: str, detail: str) -> Refund:
    """Return the refund that failed before any rail was asked: nothing moved."""
    return replace(
        refund,
        status=RefundStatus.FAILED,
        failure_code=code,
        failure_detail=detail,
        pending_reason=None,
        next_check_at=None,
    )


def cancel_conflict(refund: Refund) -> UpdateAnswer | None:
    """Return why a refund can't be cancelled, or None when it can."""
    if is_awaiting_funds(refund):
        return None
    return UpdateAnswer(
        document=refund_document(refund),
        conflict_code="refund_not_cancelable",
        conflict_detail=f"The refund is {refund.status}: only one that waits for funds can be cancelled.",
    )


def first_attempt(refund: Refund, now: datetime) -> Attempt:
    """Return the first order to the rail of the charge."""
    return Attempt(
        rail_key=rail_key(refund.id, 1),
        operation_id=refund.id,
        number=1,
        rail=refund.rail,
        flow=Flow.REFUND,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        reason=f"refund of {refund.charge}",
        requested_at=now,
    )


def rail_order(refund: Refund, attempt: Attempt, *, resumed: bool) -> RailRequest:
    """Return the order that an attempt gives to its rail."""
    return RailRequest(
        rail=attempt.rail,
        flow=Flow.REFUND,
        rail_key=attempt.rail_key,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        merchant_id=refund.merchant_id,
        mode=refund.mode,
        original_rail_key=refund.original_rail_key,
        deadline_seconds=RAIL_DEADLINE_SECONDS,
        resumed=resumed,
    )
