"""What is asked of a rail and what comes back: one vocabulary for every kind of rail."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from domain.inquiry import Inquiries


class Flow(StrEnum):
    """What a rail can be asked to do; an adapter has one capability per flow."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    PAYOUT = "payout"
    EVIDENCE = "evidence"


class Outcome(StrEnum):
    """How an attempt stands. Only APPROVED, DECLINED and NOT_ATTEMPTED are definite.

    PENDING: the rail took the order and will say later. UNKNOWN: nobody here can tell what the
    rail did. Both are resolved by inquiry, never by a guess (semantics rules 7 and 8).
    """

    SENT = "sent"
    APPROVED = "approved"
    DECLINED = "declined"
    NOT_ATTEMPTED = "not_attempted"
    PENDING = "pending"
    UNKNOWN = "unknown"


DEFINITE_OUTCOMES = frozenset({Outcome.APPROVED, Outcome.DECLINED, Outcome.NOT_ATTEMPTED})


class DeclineClass(StrEnum):
    """What a decline permits next (semantics rule 11)."""

    HARD = "hard"
    SOFT = "soft"
    SCA_REQUIRED = "sca_required"
    TRY_LATER = "try_later"
    DATA_FIX = "data_fix"


@dataclass(frozen=True, slots=True, kw_only=True)
class RailRequest:
    """One order to one rail.

    `rail_key` is the rail's idempotency key, persisted before the call. `original_rail_key` is the
    authorization a capture, void or refund is about. `resumed`: this key may have been sent before
    (a crash lies between), so a rail without idempotency is asked before it is told again.
    `requested_at`: when the attempt was written down; schemes count their time-outs from it.
    `evidence` is the merchant's side of the dispute that the rail calls `dispute_reference`.
    """

    rail: str
    flow: Flow
    rail_key: str
    amount_minor: int
    currency: str
    merchant_id: str
    mode: str
    source: str | None = None
    destination: dict[str, str] | None = None
    original_rail_key: str | None = None
    capture: bool = False
    authentication: dict[str, str] | None = None
    deadline_seconds: float = 5.0
    resumed: bool = False
    requested_at: datetime | None = None
    dispute_reference: str | None = None
    evidence: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RailPace:
    """How slow a rail is, where it is slower than a card's answer while the customer waits.

    `deadline_seconds`: how long one order or question may take before its answer counts as lost.
    `inquiry_delays_seconds`: pauses before each question about an order that is open; after the last one a
    person is called and the rail is asked once a day.
    """

    deadline_seconds: float
    inquiry_delays_seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        assert self.deadline_seconds > 0.0
        assert self.inquiry_delays_seconds and min(self.inquiry_delays_seconds) > 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RailAnswer:
    """What an attempt or an inquiry established.

    `final_funds`: the money is final with the approval (instant settlement), so captured is settled.
    `latency_ms` is the rail's own time, measured around the call. `detail` never holds card data.
    `retry_after_seconds`: how long a TRY_LATER asks to wait.
    `cost_minor`: what the rail says it charges for this order, None where it doesn't say. `pace`: the rail's
    own, where it has one; an order with a shorter deadline than that was not given at all.
    """

    outcome: Outcome
    decline_code: str | None = None
    decline_class: DeclineClass | None = None
    rail_reference: str | None = None
    final_funds: bool = False
    latency_ms: float = 0.0
    detail: str | None = None
    cost_minor: int | None = None
    retry_after_seconds: int | None = None
    pace: RailPace | None = None

    def __post_init__(self) -> None:
        assert self.cost_minor is None or self.cost_minor >= 0
        assert self.outcome is not Outcome.SENT, "an answer cannot be 'sent'"
        assert (self.decline_class is not None) == (self.outcome is Outcome.DECLINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOption:
    """One rank of a route plan with every term, so that the decision can be recomputed.

    `utility` and all terms are minor units of the charge's currency; `reason` is a sentence.
    """

    rail: str
    utility: float
    landed_cost_minor: float
    approval_probability: float
    settlement_seconds: float
    terms: dict[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One order to one rail as the books remember it; row `rail_key` exists before the call."""

    rail_key: str
    operation_id: str
    number: int
    rail: str
    flow: Flow
    amount_minor: int
    currency: str
    outcome: Outcome = Outcome.SENT
    decline_code: str | None = None
    decline_class: DeclineClass | None = None
    rail_reference: str | None = None
    latency_ms: float | None = None
    cost_estimate_minor: int = 0
    reason: str = ""
    card_fingerprint: str | None = None
    final_funds: bool = False
    requested_at: datetime | None = None
    segment: dict[str, str] | None = None
    cost_minor: int | None = None
    retry_after_seconds: int | None = None
    inquiries: Inquiries = ()


def trail_with(known: Inquiries, *attempts: Attempt) -> Inquiries:
    """Return an object's trail of inquiries with what its attempts have by now been asked about.

    An attempt brings everything asked about it, so the result is the same however often this is said.
    """
    asked = {attempt.rail_key: attempt.inquiries for attempt in attempts if attempt.inquiries}
    kept = tuple(one for one in known if one.rail_key not in asked)
    return kept + tuple(one for attempt in attempts for one in asked.get(attempt.rail_key, ()))
