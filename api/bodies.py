"""Reading request bodies: size, type, JSON, fields; the codes a client is told about each.

Codes are `{field}_{what is wrong}`; values the client sent are never part of an answer.
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from api.documenting import KEY_PATTERN
from api.errors import Problem
from domain.money import AMOUNT_MINOR_MAX, is_currency

Body = dict[str, Any]
METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500
NESTING_MAX = 64
# A whole string (or what is left of one that never ends) or one bracket.
_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


class WriteRequest(BaseModel):
    """What every write may carry: its idempotency key, here or in the header."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    idempotency_key: Annotated[str, Field(json_schema_extra={"pattern": KEY_PATTERN})] | None = Field(
        default=None, min_length=1, max_length=255
    )


def _check_amount(amount: int) -> int:
    if amount <= 0:
        raise PydanticCustomError("amount_must_be_positive", "Amounts are positive numbers of minor units.")
    if amount > AMOUNT_MINOR_MAX:
        raise PydanticCustomError(
            "amount_too_large", "The largest amount taken is {most} minor units.", {"most": AMOUNT_MINOR_MAX}
        )
    return amount


def _check_currency(currency: str) -> str:
    if not is_currency(currency):
        raise PydanticCustomError("unknown_currency", "A currency is an upper-case ISO 4217 code or USDC.")
    return currency


def _check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not 1 <= len(key) <= METADATA_KEY_LENGTH_MAX or len(value) > METADATA_VALUE_LENGTH_MAX:
            raise PydanticCustomError("metadata_too_long", "Metadata keys have 1-40, values at most 500 characters.")
        refuse_card_numbers(value)
    return metadata


def refuse_card_numbers(text: str) -> str:
    """Return a text a person wrote, unless a card number is in it.

    Free text is stored as it is and shown in many places; card numbers belong into `POST /v1/tokens`.
    """
    digits = "".join(character for character in text if character.isdigit())
    if 13 <= len(digits) <= 19 and len(text) - len(digits) <= 6 and _passes_luhn(digits):
        raise PydanticCustomError("card_number_not_allowed", "Card numbers are only taken by POST /v1/tokens.")
    return text


def _passes_luhn(digits: str) -> bool:
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def parse_instant(text: str) -> datetime:
    """Return an RFC 3339 instant in UTC.

    Raises:
        ValueError: it is no instant, or has no offset. Not retryable.
    """
    if len(text) < 20 or text[10] not in "Tt ":
        raise ValueError("not RFC 3339")
    instant = datetime.fromisoformat(text.replace("z", "Z"))
    if instant.tzinfo is None:
        raise ValueError("an instant needs an offset")
    return instant.astimezone(UTC)


def parse_at(text: str | None, param: str = "at") -> datetime | None:
    """Return the instant of a parameter; a `+` that the query string made a blank is read as one.

    Raises:
        Problem: 422, it is no RFC 3339 instant. Not retryable.
    """
    if text is None:
        return None
    try:
        return parse_instant(text[:11] + text[11:].replace(" ", "+"))
    except (ValueError, OverflowError):
        detail = f"`{param}` is RFC 3339 with an offset: 2026-11-22T10:15:00.000000Z."
        raise Problem(422, "timestamp_invalid", detail, param=param) from None


def _check_instant(text: str) -> str:
    try:
        parse_instant(text)
    except (ValueError, OverflowError):
        raise PydanticCustomError("timestamp_invalid", "Timestamps are RFC 3339 with an offset.") from None
    return text


Amount = Annotated[
    int, AfterValidator(_check_amount), Field(json_schema_extra={"minimum": 1, "maximum": AMOUNT_MINOR_MAX})
]
"""Integers only: no amount taken reaches 2^53, above which text would be needed to be exact."""
Currency = Annotated[str, AfterValidator(_check_currency), Field(description="ISO 4217 or USDC", examples=["EUR"])]
AccountId = Annotated[str, Field(pattern=r"^acct_[a-z0-9_]{1,60}$", examples=["acct_user_8f3c"])]
CardToken = Annotated[str, Field(pattern=r"^tok_[A-Za-z0-9_]{1,60}$", examples=["tok_visa_4291"])]
RailName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$", examples=["auto"])]
Metadata = Annotated[
    dict[str, str],
    Field(max_length=METADATA_KEYS_MAX),
    AfterValidator(_check_metadata),
    Field(
        json_schema_extra={
            "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_LENGTH_MAX},
            "additionalProperties": {"type": "string", "maxLength": METADATA_VALUE_LENGTH_MAX},
        }
    ),
]
FreeText = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(refuse_card_numbers)]
Instant = Annotated[str, AfterValidator(_check_instant), Field(json_schema_extra={"format": "date-time"})]


async def read_body(request: Request) -> Body:
    """Return a request's JSON object; an empty body is an empty object.

    Raises:
        Problem: 415 another content type, 400 malformed, 413 too large, 422 no object. Not retryable.
    """
    raw = await request.body()
    if not raw.strip():
        return {}
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise Problem(415, "content_type_unsupported", "Send JSON as `Content-Type: application/json`.")
    body = parse_json(raw)
    if not isinstance(body, dict):
        raise Problem(422, "body_must_be_object", "The request body is a JSON object.")
    return body


def parse_json(raw: bytes) -> Any:
    """Return a JSON value in which every string can be stored.

    Raises:
        Problem: 400, it is malformed, repeats a field or is nested too deeply. Not retryable.
    """
    if _nesting(raw) > NESTING_MAX:
        raise Problem(400, "malformed_json", "The request body is nested too deeply.")
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique_fields, parse_constant=_refuse_constant)
        if b"\\u" in raw:
            _check_text(value)
    except ValueError:
        raise Problem(400, "malformed_json", "The request body is not well-formed JSON.") from None
    return value


def _nesting(raw: bytes) -> int:
    """Return how deep arrays and objects stand in one another, or a bound on it where that is small.

    Asked before parsing: the parser recurses on the C stack and trusts the interpreter's recursion limit, which
    a library may raise beyond what the stack holds.
    """
    bound = raw.count(b"[") + raw.count(b"{")
    if bound <= NESTING_MAX:
        return bound
    depth = deepest = 0
    for token in _BRACKETS.finditer(raw):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _unique_fields(pairs: list[tuple[str, Any]]) -> Body:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Problem(400, "duplicate_field", "A field appears twice in one object of the request body.")
    return fields


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_text(value: Any) -> None:
    # NUL cannot be stored by PostgreSQL, a lone surrogate cannot be written as UTF-8: both would fail
    # a commit for ever, so they stop here.
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise Problem(422, "invalid_characters", "Text may hold neither NUL nor lone surrogates.")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name)
            _check_text(member)
    elif isinstance(value, list):
        for member in value:
            _check_text(member)


Model = TypeVar("Model", bound=BaseModel)

_SUFFIXES = {
    "int_type": "must_be_integer",
    "string_type": "must_be_string",
    "bool_type": "must_be_boolean",
    "float_type": "must_be_number",
    "dict_type": "must_be_object",
    "model_type": "must_be_object",
    "list_type": "must_be_array",
    "missing": "required",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "string_too_short": "too_short",
}


def validate(model: type[Model], body: Body) -> Model:
    """Return the body as the model.

    Raises:
        Problem: 422 with the code and `param` of the first field that is wrong. Not retryable.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise _validation_problem(error.errors(include_input=False, include_url=False)) from None


def _validation_problem(errors: list[ErrorDetails]) -> Problem:
    found = [_describe(error) for error in errors]
    members = {"errors": found} if len(found) > 1 else {}
    first = found[0]
    return Problem(422, first["code"], first["detail"], param=first["param"], members=members)


def _describe(error: ErrorDetails) -> dict[str, str]:
    # A tagged union puts its tag into the location (destination.iban.name): not a field, so dropped.
    names = [str(name) for name in error["loc"]]
    if names and names[0] == "destination" and len(names) > 2:
        names = names[:1] + names[2:]
    param = ".".join(names)
    leaf, kind = param.rsplit(".", 1)[-1], error["type"]
    if kind == "extra_forbidden":
        # The name came from the client; it is only repeated when it looks like a name.
        shown = param if _FIELD_NAME.fullmatch(param) else "(unnamed)"
        return {"param": shown, "code": "unknown_field", "detail": "This field is not known here."}
    if kind in _SUFFIXES:
        suffix = _SUFFIXES[kind]
        verb = "" if suffix.startswith("must") else "is "
        return {"param": param, "code": f"{leaf}_{suffix}", "detail": f"`{param}` {verb}{suffix.replace('_', ' ')}."}
    if kind in _OWN_KINDS:
        return {"param": param, "code": kind, "detail": error["msg"]}
    allowed = error.get("ctx", {}).get("expected")
    hint = f" It is one of {allowed}." if kind == "literal_error" and allowed else ""
    return {"param": param, "code": f"{leaf}_invalid", "detail": f"`{param}` is not valid.{hint}"}


_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,79}")

_OWN_KINDS = {
    "amount_must_be_positive",
    "amount_must_not_be_zero",
    "amount_too_large",
    "card_number_not_allowed",
    "evidence_name_invalid",
    "evidence_size_invalid",
    "metadata_too_long",
    "return_url_invalid",
    "authentication_invalid",
    "routing_number_invalid",
    "iban_invalid",
    "thresholds_out_of_order",
    "tiers_out_of_order",
    "timestamp_invalid",
    "unknown_currency",
    "unknown_event_type",
}
