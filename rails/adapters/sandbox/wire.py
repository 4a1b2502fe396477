"""The sandbox rails' wire format: how an order is written and an answer read.

Decides whether an answer can be believed at all; what it means is the adapter's.
"""

import json
from dataclasses import dataclass
from typing import Any

from domain.rail import RailRequest
from rails.adapter import CardDetails


class GarbledAnswerError(ValueError):
    """A 2xx whose body is not an answer to this order: nothing is known. Retryable by inquiry only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireAnswer:
    """A believable answer. `outcome` is approved, declined or pending."""

    outcome: str
    reference: str
    final_funds: bool
    decline_code: str | None
    advice: str | None


def encode_order(request: RailRequest, card: CardDetails | None) -> bytes:
    """Return the body of an order. With a card, the card goes out instead of the token."""
    order: dict[str, Any] = {
        "merchant": request.merchant_id,
        "mode": request.mode,
        "amount": request.amount_minor,
        "currency": request.currency,
    }
    if card is not None:
        order["card"] = {"number": card.number, "exp_month": card.exp_month, "exp_year": card.exp_year}
    elif request.source is not None:
        order["source"] = request.source
    if request.destination is not None:
        order["destination"] = request.destination
    if request.original_rail_key is not None:
        order["original"] = request.original_rail_key
    if request.evidence is not None:
        order["dispute"] = request.dispute_reference
        order["evidence"] = request.evidence
    if request.capture:
        order["capture"] = True
    if request.authentication is not None:
        order["authentication"] = request.authentication
    return json.dumps(order, separators=(",", ":")).encode()


def decode_answer(body: bytes, *, rail_key: str, amount_minor: int | None, currency: str | None) -> WireAnswer:
    """Return the answer to this very order; amount and currency are checked where they are known.

    Raises:
        GarbledAnswerError: not JSON, a field is missing, or it answers another order.
    """
    wire = _read_object(body)
    if wire.get("rail_key") != rail_key:
        raise GarbledAnswerError("the answer is about another order")
    if amount_minor is not None and (wire.get("amount"), wire.get("currency")) != (amount_minor, currency):
        raise GarbledAnswerError("the answer is about another amount")
    outcome, reference = wire.get("outcome"), wire.get("reference")
    decline_code, advice = wire.get("decline_code"), wire.get("advice")
    if outcome not in ("approved", "declined", "pending") or not isinstance(reference, str):
        raise GarbledAnswerError("the answer has no outcome or no reference")
    if outcome == "declined" and not isinstance(decline_code, str):
        raise GarbledAnswerError("the decline has no code")
    return WireAnswer(
        outcome=outcome,
        reference=reference,
        final_funds=wire.get("final_funds") is True,
        decline_code=decline_code if outcome == "declined" else None,
        advice=advice if isinstance(advice, str) else None,
    )


def says_not_attempted(body: bytes) -> bool:
    """Tell whether an error body carries the rail's promise that nothing was done."""
    try:
        return _read_object(body).get("attempted") is False
    except GarbledAnswerError:
        return False


def says_closed(body: bytes) -> bool:
    """Tell whether a 404 promises that the key will never happen."""
    try:
        return _read_object(body).get("closed") is True
    except GarbledAnswerError:
        return False


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        wire = json.loads(body)
    except ValueError as error:
        raise GarbledAnswerError("the answer is not JSON") from error
    if not isinstance(wire, dict):
        raise GarbledAnswerError("the answer is not a JSON object")
    return wire
