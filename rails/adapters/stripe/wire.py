"""Stripe's wire format: forms out, JSON objects back, kept apart from the domain's own types.

Decides whether an answer can be believed and what state an object is in; what follows is the adapter's.
Source: Stripe API reference (docs.stripe.com/api), version `API_VERSION`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

API_VERSION = "2024-06-20"

Document = dict[str, Any]


class GarbledAnswerError(ValueError):
    """A body that is no object of Stripe's: nothing is known. Retryable by inquiry only."""


class Standing(StrEnum):
    """Where an authorization stands at Stripe.

    NEEDS_CUSTOMER: held up for the customer's authentication. CANCELED: ended before any money was asked for.
    VOIDED: was authorized and is given back. OPEN: made, and nothing said about it yet.
    """

    CAPTURED = "captured"
    AUTHORIZED = "authorized"
    PROCESSING = "processing"
    NEEDS_CUSTOMER = "needs_customer"
    DECLINED = "declined"
    CANCELED = "canceled"
    VOIDED = "voided"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """A PaymentIntent or Charge as it stands. Amounts in minor units; `currency` upper-case."""

    id: str
    rail_key: str | None
    amount_minor: int
    currency: str
    created: int
    standing: Standing
    decline_code: str | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundShown:
    """A Refund as it stands. `status`: pending, requires_action, succeeded, failed or canceled."""

    id: str
    rail_key: str | None
    amount_minor: int
    currency: str
    status: str
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorShown:
    """What an error body says; `code` is the most precise reason given."""

    type: str
    code: str
    advice: str | None


def encode_form(fields: Mapping[str, Any]) -> bytes:
    """Return a form body: `{"a": {"b": 1}}` becomes `a[b]=1`; None is left out, booleans are words."""
    return urlencode(list(_flat(fields))).encode()


def read_document(body: bytes) -> Document:
    """Return a body's JSON object.

    Raises:
        GarbledAnswerError: it is none.
    """
    try:
        document = json.loads(body)
    except ValueError as error:
        raise GarbledAnswerError("the answer is not JSON") from error
    if not isinstance(document, dict):
        raise GarbledAnswerError("the answer is not a JSON object")
    return document


def read_page(body: bytes) -> tuple[list[Document], bool]:
    """Return the objects of a list's page, and whether more follow.

    Raises:
        GarbledAnswerError: it is no list.
    """
    page = read_document(body)
    found = page.get("data")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise GarbledAnswerError("the answer is no list")
    return found, page.get("has_more") is True


def read_error(body: bytes) -> ErrorShown:
    """Return what an error says; of an unreadable one, nothing."""
    try:
        error = read_document(body).get("error")
    except GarbledAnswerError:
        error = None
    error = error if isinstance(error, dict) else {}
    code = error.get("decline_code") or error.get("code") or "order_malformed"
    return ErrorShown(type=str(error.get("type", "")), code=str(code), advice=_text(error.get("advice_code")))


def read_payment_intent(intent: Document) -> Authorization:
    """Return a PaymentIntent as it stands.

    Raises:
        GarbledAnswerError: it is none, or a field is missing.
    """
    if intent.get("object") != "payment_intent":
        raise GarbledAnswerError("the answer is no payment intent")
    charged = intent.get("latest_charge") is not None
    error = intent.get("last_payment_error")
    error = error if isinstance(error, dict) else {}
    standings = {
        "succeeded": Standing.CAPTURED,
        "requires_capture": Standing.AUTHORIZED,
        "processing": Standing.PROCESSING,
        "requires_action": Standing.NEEDS_CUSTOMER,
        "requires_payment_method": Standing.DECLINED if error or charged else Standing.OPEN,
        "requires_confirmation": Standing.OPEN,
        "canceled": Standing.VOIDED if charged else Standing.CANCELED,
    }
    standing = standings.get(str(intent.get("status")))
    if standing is None:
        raise GarbledAnswerError(f"a payment intent cannot be {intent.get('status')!r}")
    return _authorization(
        intent,
        standing,
        code=_text(error.get("decline_code")) or _text(error.get("code")),
        advice=_text(error.get("advice_code")),
    )


def read_charge(charge: Document) -> Authorization:
    """Return a Charge as it stands.

    Raises:
        GarbledAnswerError: it is none, or a field is missing.
    """
    if charge.get("object") != "charge":
        raise GarbledAnswerError("the answer is no charge")
    status, captured = charge.get("status"), charge.get("captured") is True
    if status == "succeeded":
        given_back = charge.get("refunded") is True
        standing = Standing.CAPTURED if captured else Standing.VOIDED if given_back else Standing.AUTHORIZED
    elif status == "pending":
        standing = Standing.PROCESSING
    elif status == "failed":
        standing = Standing.DECLINED
    else:
        raise GarbledAnswerError(f"a charge cannot be {status!r}")
    outcome = charge.get("outcome")
    outcome = outcome if isinstance(outcome, dict) else {}
    code = (_text(outcome.get("reason")) or _text(charge.get("failure_code"))) if status == "failed" else None
    return _authorization(charge, standing, code=code, advice=_text(outcome.get("advice_code")))


def read_refund(refund: Document) -> RefundShown:
    """Return a Refund as it stands.

    Raises:
        GarbledAnswerError: it is none, or a field is missing.
    """
    status = refund.get("status")
    if refund.get("object") != "refund" or not isinstance(status, str):
        raise GarbledAnswerError("the answer is no refund")
    identifier, amount, currency, _ = _basics(refund)
    return RefundShown(
        id=identifier,
        rail_key=rail_key_of(refund),
        amount_minor=amount,
        currency=currency,
        status=status,
        failure=_text(refund.get("failure_reason")),
    )


def rail_key_of(document: Document) -> str | None:
    """Return our key in an object's metadata; None for what others made."""
    metadata = document.get("metadata")
    return _text(metadata.get("rail_key")) if isinstance(metadata, dict) else None


def _authorization(document: Document, standing: Standing, *, code: str | None, advice: str | None) -> Authorization:
    identifier, amount, currency, created = _basics(document)
    return Authorization(
        id=identifier,
        rail_key=rail_key_of(document),
        amount_minor=amount,
        currency=currency,
        created=created,
        standing=standing,
        decline_code=(code or "generic_decline") if standing is Standing.DECLINED else None,
        advice=advice,
    )


def _basics(document: Document) -> tuple[str, int, str, int]:
    identifier, amount = document.get("id"), document.get("amount")
    currency, created = document.get("currency"), document.get("created")
    if not isinstance(identifier, str) or type(amount) is not int or not isinstance(currency, str):
        raise GarbledAnswerError("the object has no id, amount or currency")
    return identifier, amount, currency.upper(), created if type(created) is int else 0


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        path = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        elif isinstance(value, list | tuple):
            for item in value:
                yield f"{path}[]", str(item)
        elif isinstance(value, bool):
            yield path, "true" if value else "false"
        elif value is not None:
            yield path, str(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
