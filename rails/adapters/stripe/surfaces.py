"""The two ways Stripe takes a card: PaymentIntents, and the older Charges. Which calls each flow is, and no more."""

from dataclasses import dataclass
from typing import Any, Protocol

from domain.rail import RailRequest
from rails.adapter import CardDetails
from rails.adapters.stripe.wire import Authorization, Document, read_charge, read_payment_intent

# What an issuer's authentication outside Stripe proved, as our API takes it and as Stripe names it.
_THREE_D_SECURE = ("cryptogram", "transaction_id", "version", "electronic_commerce_indicator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A POST: where to, and the form's fields."""

    path: str
    fields: dict[str, Any]


class Surface(Protocol):
    """One of the two. Objects live below `collection`; `refund_field` names one in a refund.

    `asks_before_ending`: the call that voids gives captured money back as well, and a charge given back may be
    captured, so the charge is looked at before either.
    """

    collection: str
    refund_field: str
    asks_before_ending: bool

    def authorize(self, request: RailRequest, card: CardDetails | None) -> Call:
        """Return the call that authorizes, and captures where the order says so."""
        ...

    def capture(self, authorization_id: str, amount_minor: int) -> Call:
        """Return the call that captures; what is left of the authorization is released."""
        ...

    def void(self, authorization_id: str, rail_key: str) -> Call:
        """Return the call that gives an uncaptured authorization back."""
        ...

    def read(self, document: Document) -> Authorization:
        """Return an object of this surface as it stands."""
        ...


class PaymentIntents:
    """Stripe's way of today: one intent, confirmed as it is made."""

    collection = "/v1/payment_intents"
    refund_field = "payment_intent"
    asks_before_ending = False

    def authorize(self, request: RailRequest, card: CardDetails | None) -> Call:
        """Return one call that makes and confirms the intent."""
        fields: dict[str, Any] = {
            "amount": request.amount_minor,
            "currency": request.currency.lower(),
            "payment_method_types": ["card"],
            "confirm": True,
            "capture_method": "automatic" if request.capture else "manual",
            "metadata": {"rail_key": request.rail_key},
        }
        if card is not None:
            fields["payment_method_data"] = {"type": "card", "card": _card_fields(card)}
        else:
            fields["payment_method"] = request.source
        proven = {name: value for name, value in (request.authentication or {}).items() if name in _THREE_D_SECURE}
        if "cryptogram" in proven:
            fields["payment_method_options"] = {"card": {"three_d_secure": proven}}
        return Call(path=self.collection, fields=fields)

    def capture(self, authorization_id: str, amount_minor: int) -> Call:
        """Return the intent's capture."""
        return Call(path=f"{self.collection}/{authorization_id}/capture", fields={"amount_to_capture": amount_minor})

    def void(self, authorization_id: str, rail_key: str) -> Call:
        """Return the intent's cancellation."""
        del rail_key  # a cancellation carries nothing of ours; an intent is cancelled once
        return Call(path=f"{self.collection}/{authorization_id}/cancel", fields={})

    def read(self, document: Document) -> Authorization:
        """Return an intent as it stands."""
        return read_payment_intent(document)


class Charges:
    """The older way: a charge at once, or authorized for a capture to come. It knows no authentication."""

    collection = "/v1/charges"
    refund_field = "charge"
    asks_before_ending = True

    def authorize(self, request: RailRequest, card: CardDetails | None) -> Call:
        """Return the call that charges."""
        return Call(
            path=self.collection,
            fields={
                "amount": request.amount_minor,
                "currency": request.currency.lower(),
                "capture": request.capture,
                "source": request.source if card is None else {"object": "card", **_card_fields(card)},
                "metadata": {"rail_key": request.rail_key},
            },
        )

    def capture(self, authorization_id: str, amount_minor: int) -> Call:
        """Return the charge's capture."""
        return Call(path=f"{self.collection}/{authorization_id}/capture", fields={"amount": amount_minor})

    def void(self, authorization_id: str, rail_key: str) -> Call:
        """Return the refund of an uncaptured charge, which is how Charges give one back."""
        return Call(path="/v1/refunds", fields={"charge": authorization_id, "metadata": {"rail_key": rail_key}})

    def read(self, document: Document) -> Authorization:
        """Return a charge as it stands."""
        return read_charge(document)


def _card_fields(card: CardDetails) -> dict[str, Any]:
    return {"number": card.number, "exp_month": card.exp_month, "exp_year": card.exp_year}


SURFACES: dict[str, Surface] = {"payment_intents": PaymentIntents(), "charges": Charges()}
