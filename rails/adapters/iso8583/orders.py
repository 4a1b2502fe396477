"""Orders as the acquirer knows them: numbered and written ahead, and the messages that carry them.

A purchase is an authorization (0100) or a sale (0200); a capture and a refund are advices (0220), which tell what
has been decided and are repeated until they are answered; a void is a reversal (0400), repeated likewise.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.rail import Flow, RailRequest
from rails.adapter import CardDetails
from rails.adapters.iso8583.message import ADVICE, AUTHORIZATION, PURCHASE, REFUND, REVERSAL, SALE, Message, repeat_of
from rails.adapters.iso8583.profile import NUMERIC_CURRENCY

STAN_MAX = 999_999


class NumbersExhaustedError(Exception):
    """A million messages in one day: there is no trace number left. Retryable tomorrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as it was written ahead. `sent_at` is element 7 (MMDDhhmmss, UTC); `rrn` names the authorization.

    `traced` is what a reversal quotes of it (element 90). Holds nothing of the card.
    """

    rail_key: str
    flow: str
    mti: str
    stan: str
    rrn: str
    sent_at: str
    amount_minor: int
    currency: str
    auth_code: str | None = None
    traced: str | None = None

    @property
    def own_trace(self) -> str:
        """Return element 90 of a message that refers to this one: type, trace number, time, and no institutions."""
        return f"{self.mti}{self.stan}{self.sent_at}{'0' * 22}"

    def sent_moment(self, now: datetime) -> datetime:
        """Return when it was sent; element 7 has no year, so it is the last such moment."""
        moment = datetime.strptime(f"{now.year}{self.sent_at}", "%Y%m%d%H%M%S").replace(tzinfo=now.tzinfo)
        return moment if moment <= now + timedelta(days=1) else moment.replace(year=now.year - 1)

    def document(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return asdict(self)


def order_of(document: Mapping[str, Any]) -> Order:
    """Return an order as it was kept."""
    return Order(**document)


def trace_number(number: int) -> str:
    """Return the day's nth number as six digits.

    Raises:
        NumbersExhaustedError: the day's numbers are used up.
    """
    if number > STAN_MAX:
        raise NumbersExhaustedError("a million messages were sent today")
    return f"{number:06d}"


def retrieval_reference(stan: str, now: datetime) -> str:
    """Return element 37: last digit of the year, day of the year, hour, trace number. Unique for ten years."""
    return f"{now:%Y}"[-1] + f"{now:%j%H}" + stan


def new_order(request: RailRequest, stan: str, now: datetime, original: Order | None, auth_code: str | None) -> Order:
    """Return the order of a request, numbered; what follows an authorization takes its reference."""
    types = {Flow.CAPTURE: ADVICE, Flow.REFUND: ADVICE, Flow.VOID: REVERSAL}
    mti = types.get(request.flow) or (SALE if request.capture else AUTHORIZATION)
    return Order(
        rail_key=request.rail_key,
        flow=request.flow.value,
        mti=mti,
        stan=stan,
        rrn=retrieval_reference(stan, now) if original is None else original.rrn,
        sent_at=f"{now:%m%d%H%M%S}",
        amount_minor=request.amount_minor,
        currency=request.currency,
        auth_code=auth_code,
        traced=None if original is None else original.own_trace,
    )


def order_message(order: Order, *, terminal: str, merchant: str, card: CardDetails | None, repeat: bool) -> Message:
    """Return the message that carries an order; the card goes with a purchase only."""
    elements = _common(order, terminal=terminal, merchant=merchant)
    elements["3"] = REFUND if order.flow == Flow.REFUND else PURCHASE
    elements["48"] = order.rail_key
    if card is not None:
        elements["2"] = card.number
        elements["14"] = f"{card.exp_year % 100:02d}{card.exp_month:02d}"
    if order.auth_code is not None:
        elements["38"] = order.auth_code
    if order.traced is not None:
        elements["90"] = order.traced
    return Message(mti=repeat_of(order.mti) if repeat else order.mti, elements=elements)


def reversal_message(order: Order, *, stan: str, sent_at: str, terminal: str, merchant: str, repeat: bool) -> Message:
    """Return the reversal of an unanswered order, numbered on its own and quoting what it takes back."""
    elements = _common(order, terminal=terminal, merchant=merchant)
    elements |= {"3": PURCHASE, "7": sent_at, "11": stan, "48": order.rail_key, "90": order.own_trace}
    return Message(mti=repeat_of(REVERSAL) if repeat else REVERSAL, elements=elements)


def network_message(code: str, *, stan: str, now: datetime) -> Message:
    """Return a sign-on or an echo."""
    return Message(mti="0800", elements={"7": f"{now:%m%d%H%M%S}", "11": stan, "70": code})


def _common(order: Order, *, terminal: str, merchant: str) -> dict[str, str]:
    return {
        "4": f"{order.amount_minor:012d}",
        "7": order.sent_at,
        "11": order.stan,
        "37": order.rrn,
        "41": terminal,
        "42": merchant,
        "49": NUMERIC_CURRENCY[order.currency],
    }
