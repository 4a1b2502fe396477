"""Stripe's events: which of them tell something about an order of ours, and what.

An event shows its object as it was then; events come late and in any order. So only what never changes again is
taken as an answer (declined, authorized, refunded or failed), anything else as a reason to ask.
"""

from datetime import UTC, datetime

from domain.inbound import CallbackUnreadableError, InboundKind, InboundNotice
from domain.rail import DEFINITE_OUTCOMES, RailAnswer
from rails.adapters.stripe.answers import answer_of_authorization, answer_of_refund
from rails.adapters.stripe.wire import (
    Document,
    GarbledAnswerError,
    rail_key_of,
    read_charge,
    read_document,
    read_payment_intent,
    read_refund,
)

_CLOSED = {
    "won": InboundKind.DISPUTE_WON,
    "lost": InboundKind.DISPUTE_LOST,
    "warning_closed": InboundKind.DISPUTE_CLOSED,
}
_INQUIRY = "warning_"
"""A dispute in these states moves no money yet."""


def read_event(body: bytes, rail: str, *, live: bool) -> tuple[InboundNotice, ...]:
    """Return the notices of an event whose signature was checked; none if it is about nothing of ours.

    Raises:
        CallbackUnreadableError: it is no event, or its object can't be read. Retryable once we can read it.
    """
    try:
        event = read_document(body)
        event_id, kind = event.get("id"), event.get("type")
        holder = event.get("data")
        shown = holder.get("object") if isinstance(holder, dict) else None
        if not isinstance(event_id, str) or not isinstance(kind, str) or not isinstance(shown, dict):
            raise GarbledAnswerError("the body is no event")
        if event.get("livemode") is not None and event["livemode"] is not live:
            return ()
        if kind.startswith("charge.dispute."):
            told = _dispute_kind(kind, str(shown.get("status", "")))
            return () if told is None else _dispute(event_id, told, shown, rail)
        return _outcome(event_id, kind, shown, rail)
    except GarbledAnswerError as error:
        raise CallbackUnreadableError(str(error)) from error


def _outcome(event_id: str, kind: str, shown: Document, rail: str) -> tuple[InboundNotice, ...]:
    rail_key = rail_key_of(shown)
    if rail_key is None:
        return ()
    answer: RailAnswer | None
    if kind.startswith("payment_intent."):
        answer = answer_of_authorization(read_payment_intent(shown))
    elif kind.startswith(("refund.", "charge.refund.")):
        answer = answer_of_refund(read_refund(shown))
    elif kind.startswith("charge."):
        answer = answer_of_authorization(read_charge(shown))
    else:
        return ()
    return (
        InboundNotice(
            rail=rail,
            event_id=event_id,
            kind=InboundKind.OUTCOME,
            rail_key=rail_key,
            answer=answer if answer.outcome in DEFINITE_OUTCOMES else None,
        ),
    )


def _dispute_kind(kind: str, status: str) -> InboundKind | None:
    """Return what an event of a dispute tells; None for what moves nothing and ends nothing.

    When an inquiry becomes a chargeback, Stripe opens a dispute of its own for it.
    """
    if kind == "charge.dispute.created":
        return InboundKind.INQUIRY if status.startswith(_INQUIRY) else InboundKind.CHARGEBACK
    if kind == "charge.dispute.closed":
        return _CLOSED.get(status)
    return None


def _dispute(event_id: str, told: InboundKind, shown: Document, rail: str) -> tuple[InboundNotice, ...]:
    reference = shown.get("payment_intent") or shown.get("charge")
    amount, currency, name = shown.get("amount"), shown.get("currency"), shown.get("id")
    if not isinstance(reference, str) or type(amount) is not int or amount <= 0:
        raise GarbledAnswerError("the dispute has no charge or no amount")
    if not isinstance(currency, str) or not isinstance(name, str):
        raise GarbledAnswerError("the dispute has no currency or no id")
    reason, details = shown.get("reason"), shown.get("evidence_details")
    due_by = details.get("due_by") if isinstance(details, dict) else None
    return (
        InboundNotice(
            rail=rail,
            event_id=event_id,
            kind=told,
            rail_reference=reference,
            reference=name,
            amount_minor=amount,
            currency=currency.upper(),
            reason=reason if isinstance(reason, str) else None,
            evidence_due_by=datetime.fromtimestamp(due_by, UTC) if type(due_by) is int else None,
        ),
    )
