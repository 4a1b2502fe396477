"""What the documentation shows of the objects of the API.

How a route declares what it answers is decided in `api/documenting.py`; its functions are offered here
too, so that a route needs one import: `responses=schemas.operation(schemas.Charge)`.
"""

from typing import Any, Literal

from pydantic import Field

from api.documenting import Problem as Problem
from api.documenting import Responses as Responses
from api.documenting import Shown as Shown
from api.documenting import body as body
from api.documenting import change as change
from api.documenting import creation as creation
from api.documenting import listing as listing
from api.documenting import operation as operation
from api.documenting import problems as problems
from api.documenting import reading as reading
from api.documenting import streaming as streaming
from api.documenting import writing as writing


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
    held_by: str | None = None


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
    """An account's balance at an instant."""

    account: str
    currency: str
    posted: int
    pending_debits: int
    pending_credits: int
    available: int
    at: str
    version: int


class ResolutionShown(Shown):
    """How an exception was closed: `amount` is what moved, towards us positive, in `ledger_transaction`."""

    action: Literal["accept", "write_off", "credit_account"]
    note: str
    actor: str
    amount: int | None
    account: str | None
    ledger_transaction: str | None
    resolved_at: str


class ExceptionShown(Shown):
    """Something a person must look at."""

    id: str
    object: Literal["exception"]
    kind: str
    status: Literal["open", "resolved"]
    subject: str
    detail: str
    amount: int | None = None
    currency: str | None = None
    expected: int | None = None
    actual: int | None = None
    difference: int | None = None
    resolution: ResolutionShown | None = None


class PayoutStopShown(Shown):
    """A currency whose payouts were stopped because the books were not in order."""

    id: str
    object: Literal["payout_stop"]
    currency: str
    status: Literal["active", "lifted"]
    since: str
    violations: list[dict[str, Any]]
    exception: str
    lifted_at: str | None
    lifted_by: str | None
    note: str | None


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
    schema_version: int
    livemode: bool
    created_at: str
    previous_hash: str | None = Field(description="The hash of the event before; zeros for the first of the chain.")
    hash: str | None = Field(description="SHA-256, hex; see docs/webhooks.md for what it covers.")
    data: EventSubject
