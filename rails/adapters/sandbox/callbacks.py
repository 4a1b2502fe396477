"""What the sandbox's rails call back: chargebacks and money that came back, one signed JSON format for all five.

An occurrence is named by its type and the rail's reference of it.
"""

import json
import re
from typing import Any

from domain.currencies import EXPONENTS
from domain.inbound import CallbackUnreadableError, InboundKind, InboundNotice
from domain.rail import Outcome, RailAnswer

_PRINTABLE = re.compile(r"[!-~]{1,200}")
_KINDS = {
    "dispute.created": InboundKind.CHARGEBACK,
    "order.outcome": InboundKind.OUTCOME,
    "dispute.escalated": InboundKind.DISPUTE_ESCALATED,
    "dispute.closed": InboundKind.DISPUTE_CLOSED,
    "dispute.won": InboundKind.DISPUTE_WON,
    "dispute.lost": InboundKind.DISPUTE_LOST,
    "charge.settled": InboundKind.CHARGE_SETTLED,
    "refund.failed": InboundKind.REFUND_FAILED,
    "payout.paid": InboundKind.PAYOUT_PAID,
    "payout.failed": InboundKind.PAYOUT_FAILED,
    "payout.returned": InboundKind.PAYOUT_RETURNED,
}
AMOUNT_MINOR_MAX = 2**63 - 1


def read_notices(body: bytes, names: frozenset[str]) -> tuple[InboundNotice, ...]:
    """Return the notices of a callback whose signature was checked; `names` are the rails it may speak for.

    Raises:
        CallbackUnreadableError: not JSON, not ours, or a field is missing. Retryable once we can read it.
    """
    try:
        told = json.loads(body)
    except ValueError as error:
        raise CallbackUnreadableError("the body is not JSON") from error
    if not isinstance(told, dict) or told.get("type") not in _KINDS:
        raise CallbackUnreadableError("the body is no notice of the sandbox")
    if told.get("rail") not in names:
        raise CallbackUnreadableError("the notice is of no rail of the sandbox")
    kind, reference = _KINDS[told["type"]], _word(told, "reference")
    if kind is InboundKind.CHARGEBACK and told.get("kind") == "inquiry":
        kind = InboundKind.INQUIRY
    amount, currency, reason = told.get("amount"), told.get("currency"), told.get("reason")
    if type(amount) is not int or not 0 < amount <= AMOUNT_MINOR_MAX or currency not in EXPONENTS:
        raise CallbackUnreadableError("the notice has no amount")
    return (
        InboundNotice(
            rail=told["rail"],
            event_id=f"{told['type']}:{reference}",
            kind=kind,
            rail_key=_word(told, "rail_key"),
            reference=reference,
            amount_minor=amount,
            currency=currency,
            reason=reason[:500] if isinstance(reason, str) else None,
            fee_minor=_fee(told),
            answer=_answer(told) if kind is InboundKind.OUTCOME else None,
            effect_key=_word(told, "effect_key") if kind is InboundKind.OUTCOME else None,
        ),
    )


def _fee(told: dict[str, Any]) -> int | None:
    fee = told.get("fee")
    if fee is not None and (type(fee) is not int or abs(fee) > AMOUNT_MINOR_MAX):
        raise CallbackUnreadableError("the fee of the notice is no amount")
    return fee


def _answer(told: dict[str, Any]) -> RailAnswer | None:
    """Return a correction's answer. Only a yes is one: the rails of the sandbox never take a yes back this way."""
    if told.get("outcome") != "approved":
        return None
    return RailAnswer(outcome=Outcome.APPROVED, rail_reference=_word(told, "reference"), detail="told by the rail")


def _word(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or _PRINTABLE.fullmatch(value) is None:
        raise CallbackUnreadableError(f"the notice has no {name}")
    return value
