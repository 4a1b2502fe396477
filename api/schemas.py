"""What the documentation says about answers: objects as shown, problems, and how routes declare them.

Only the OpenAPI document is made from these; answers are rendered straight from the books. A test
compares the two.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Responses = dict[int | str, dict[str, Any]]


class Shown(BaseModel):
    """Fields may be added to any object; clients ignore what they don't know."""

    model_config = ConfigDict(extra="allow")


class Problem(Shown):
    """RFC 9457. Where an object exists, it is a member under its own name (`charge`, `refund`, …)."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(examples=["amount_must_be_positive"])
    param: str | None = None
    request_id: str


class RiskShown(Shown):
    """What risk said; `score` is null in a model outage."""

    score: float | None
    decision: Literal["allow", "step_up", "block"]
    model_version: str
    reasons: list[str]


class AttemptShown(Shown):
    """One order to one rail."""

    number: int
    rail: str
    outcome: Literal["sent", "approved", "declined", "not_attempted", "pending", "unknown"]
    decline_code: str | None
    decline_class: str | None
    latency_ms: float | None
    cost_estimate: int


class RouteShown(Shown):
    """One rank of the route plan; money in minor units."""

    rail: str
    utility: float
    landed_cost: float
    approval_probability: float
    settlement_seconds: float
    reason: str


class _Operation(Shown):
    id: str
    amount: int
    currency: str
    metadata: dict[str, str]
    workflow_id: str
    livemode: bool
    created_at: str


class Charge(_Operation):
    """A card charge."""

    object: Literal["charge"]
    status: Literal[
        "processing", "requires_action", "authorized", "captured", "settled", "declined", "unknown", "voided", "expired"
    ]
    amount_captured: int
    amount_refunded: int
    fee: int
    net: int
    rail: str | None
    account: str
    source: str
    capture: bool
    customer: str | None
    description: str | None
    return_url: str | None
    risk: RiskShown | None
    attempts: list[AttemptShown]
    route: list[RouteShown]
    next_action: dict[str, str] | None
    next_check_at: str | None
    capture_before: str | None
    decline_code: str | None
    decline_class: str | None


class Refund(_Operation):
    """Money of a charge on its way back to the card."""

    object: Literal["refund"]
    status: Literal["processing", "pending", "succeeded", "failed", "unknown"]
    charge: str
    account: str
    rail: str
    reason: str | None
    failure_code: str | None
    failure_detail: str | None
    next_check_at: str | None


class Payout(_Operation):
    """Money of an account on its way out."""

    object: Literal["payout"]
    status: Literal["processing", "paid", "failed", "returned", "unknown"]
    source: str
    destination: dict[str, str]
    rail: str | None
    failure_code: str | None
    failure_detail: str | None
    next_check_at: str | None


class EntryShown(Shown):
    """One side of a movement; `balance` is the account's right after it."""

    id: str
    account: str
    direction: Literal["debit", "credit"]
    amount: int
    currency: str
    balance: int


class TransferPostShown(Shown):
    """A part of a pending transfer that was posted."""

    id: str
    amount: int


class ExchangeShown(Shown):
    """What a transfer sold and bought at its quote; amounts in minor units of each currency."""

    rate: str
    sell_currency: str
    sell_amount: int
    buy_currency: str
    buy_amount: int


class Transfer(_Operation):
    """A transfer between two accounts: two opposing entries, or two in each currency of an exchange; or held first."""

    object: Literal["transfer"]
    status: Literal["processing", "pending", "settled", "voided", "expired", "failed"]
    source: str
    destination: str
    rail: str
    fx_quote: str | None
    exchange: ExchangeShown | None
    entries: list[EntryShown]
    amount_posted: int
    posts: list[TransferPostShown]
    expires_at: str | None
    reverses: str | None
    reversed_by: str | None
    reason: str | None
    effective_at: str | None
    failure_code: str | None
    failure_detail: str | None


class FxQuote(Shown):
    """A rate kept for one transfer. `rate` is units bought per unit sold, in main units, as decimal text."""

    id: str
    object: Literal["fx_quote"]
    status: Literal["open", "used", "expired"]
    sell_currency: str
    sell_amount: int
    buy_currency: str
    buy_amount: int
    fixed_side: Literal["sell", "buy"]
    rate: str = Field(examples=["1.0840"])
    mid_rate: str
    spread_basis_points: int
    rate_source: str
    rate_as_of: str
    transfer: str | None
    expires_at: str
    livemode: bool
    created_at: str


class Account(Shown):
    """An account of the merchant or of one of its customers."""

    id: str
    object: Literal["account"]
    status: Literal["open", "frozen", "closed"]
    currency: str
    kind: str
    name: str | None
    min_balance: int | None
    max_balance: int | None
    livemode: bool
    created_at: str


class Balance(Shown):
    """An account's balance at an instant. available = posted - pending_debits."""

    account: str
    currency: str
    posted: int
    pending_debits: int
    pending_credits: int
    available: int
    at: str
    version: int


class ExceptionShown(Shown):
    """Something a person must look at."""

    id: str
    object: Literal["exception"]
    kind: str
    status: Literal["open", "resolved"]
    subject: str
    detail: str


class EventSubject(Shown):
    """The object as it was when the event happened."""

    object: dict[str, Any]


class Event(Shown):
    """A change of an object, numbered without gaps per merchant and mode."""

    id: str
    object: Literal["event"]
    sequence: int
    previous_sequence: int
    type: str = Field(examples=["charge.settled"])
    created_at: str
    data: EventSubject


def _problems(*statuses: int) -> Responses:
    described = {
        400: "The request is malformed or lacks its idempotency key.",
        401: "The API key is missing or wrong.",
        402: "Declined; the object is a member.",
        403: "This kind of key may not do this.",
        404: "No such object for this merchant and mode.",
        409: "The state of an object or a running request forbids it.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "A field is wrong, or the ledger refused.",
        500: "Something went wrong on our side.",
        503: "Not attempted; retry with the same key.",
    }
    return {
        status: {
            "description": described[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def operation(model: type[BaseModel]) -> Responses:
    """Return the answers of a POST that creates `model` and may move money."""
    return {
        201: {"model": model, "description": "Done, or waiting for the customer."},
        202: {"model": model, "description": "Unknown or still running; read it again later."},
        **_problems(400, 401, 402, 404, 409, 413, 415, 422, 500, 503),
    }


def change(model: type[BaseModel]) -> Responses:
    """Return the answers of a POST that changes `model`."""
    return {
        200: {"model": model, "description": "Done."},
        202: {"model": model, "description": "Unknown or still running; read it again later."},
        **_problems(400, 401, 402, 404, 409, 413, 415, 422, 500, 503),
    }


def creation(model: type[BaseModel] | None = None) -> Responses:
    """Return the answers of a POST that creates `model` and moves nothing."""
    created: dict[str, Any] = {"description": "Created."}
    if model is not None:
        created["model"] = model
    return {201: created, **_problems(400, 401, 403, 404, 409, 413, 415, 422, 500, 503)}


def writing(model: type[BaseModel] | None = None) -> Responses:
    """Return the answers of a PUT, or of a POST that only computes."""
    done: dict[str, Any] = {"description": "Done."}
    if model is not None:
        done["model"] = model
    return {200: done, **_problems(400, 401, 403, 404, 413, 415, 422, 500, 503)}


def reading(model: type[BaseModel] | None = None) -> Responses:
    """Return the answers of a GET of one `model`."""
    found: dict[str, Any] = {"description": "As it stands."}
    if model is not None:
        found["model"] = model
    return {200: found, **_problems(401, 404, 422, 500, 503)}


def listing(model: type[BaseModel]) -> Responses:
    """Return the answers of a GET of a list of `model`."""
    REFERENCED.add(model)
    page = {
        "type": "object",
        "required": ["object", "data", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{model.__name__}"}},
            "has_more": {"type": "boolean"},
        },
    }
    return {
        200: {"description": "A page.", "content": {"application/json": {"schema": page}}},
        **_problems(401, 422, 500, 503),
    }


def body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's OpenAPI that describes its request body and idempotency key."""
    BODIES.add(model)
    header = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "1-255 printable ASCII characters; or the body field `idempotency_key`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    required = any(field.is_required() for field in model.model_fields.values())
    described: dict[str, Any] = {
        "requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}
    }
    if "idempotency_key" in model.model_fields:
        described["parameters"] = [header]
    return described


BODIES: set[type[BaseModel]] = set()
"""Every request model a route declares."""
REFERENCED: set[type[BaseModel]] = {Problem}
"""Every object model that lists refer to."""
