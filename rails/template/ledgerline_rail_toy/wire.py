"""The wire format of toy: how an order is written and an answer read, apart from the domain's own types.

Decides whether an answer can be believed at all; what it means is the adapter's.
"""

import json
from dataclasses import dataclass
from typing import Any

from domain.rail import RailRequest
from rails.adapter import CardDetails


class GarbledAnswerError(ValueError):
    """A 2xx whose body is no answer to this order: nothing is known. Retryable by inquiry only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireAnswer:
    """A believable answer. `state` is approved, declined or pending."""

    state: str
    reference: str
    code: str | None


def encode_order(request: RailRequest, card: CardDetails | None) -> bytes:
    """Return the body of an order. With a card, the card goes out instead of the token."""
    order: dict[str, Any] = {"amount": request.amount_minor, "currency": request.currency}
    if card is not None:
        order["card"] = {"number": card.number, "exp_month": card.exp_month, "exp_year": card.exp_year}
    elif request.source is not None:
        order["token"] = request.source
    if request.original_rail_key is not None:
        order["original"] = request.original_rail_key
    if request.capture:
        order["capture"] = True
    return json.dumps(order).encode()


def decode_answer(body: bytes, *, rail_key: str) -> WireAnswer:
    """Return the answer to this very order.

    Raises:
        GarbledAnswerError: not JSON, a field is missing, or it answers another order.
    """
    try:
        wire = json.loads(body)
    except ValueError as error:
        raise GarbledAnswerError("the answer is not JSON") from error
    if not isinstance(wire, dict) or wire.get("key") != rail_key:
        raise GarbledAnswerError("the answer is about another order")
    state, reference, code = wire.get("state"), wire.get("reference"), wire.get("code")
    if state not in ("approved", "declined", "pending") or not isinstance(reference, str):
        raise GarbledAnswerError("the answer has no state or no reference")
    if state == "declined" and not isinstance(code, str):
        raise GarbledAnswerError("the decline has no code")
    return WireAnswer(state=state, reference=reference, code=code if state == "declined" else None)
