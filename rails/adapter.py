"""What every rail adapter offers, and what the core knows about a rail before it calls it.

Decides nothing: routing reads the profiles, `outcomes.py` reads the answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from domain.inbound import Callback, InboundNotice
from domain.rail import Flow, RailAnswer, RailPace, RailRequest
from rails.banking_days import CutOff, seconds_until_taken
from rails.records import RailRecords

RailKind = Literal["card", "bank", "payout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardDetails:
    """A card on its way from the vault to one rail. The number never shows in a repr."""

    number: str = field(repr=False)
    exp_month: int = field(repr=False)
    exp_year: int = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RailPrice:
    """What a rail charges in one currency: basis points of the amount and a fixed part, in minor units."""

    basis_points: int
    fixed_minor: int

    def __post_init__(self) -> None:
        assert self.basis_points >= 0 and self.fixed_minor >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountLimits:
    """The smallest and largest amount a rail takes in one currency, in minor units, both included."""

    smallest_minor: int = 1
    largest_minor: int | None = None

    def __post_init__(self) -> None:
        assert self.smallest_minor >= 1
        assert self.largest_minor is None or self.largest_minor >= self.smallest_minor

    def take(self, amount_minor: int) -> bool:
        """Tell whether the rail takes this amount."""
        return self.smallest_minor <= amount_minor and (
            self.largest_minor is None or amount_minor <= self.largest_minor
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RailProfile:
    """What is known of a rail: abilities, prices, speed, and what it guarantees.

    `prices` by currency: a currency without a price is one the rail does not take.
    `settlement_seconds`: from approval to final money. `final_funds`: the approval itself is final.
    `idempotent`: a re-sent rail key is never done twice. `not_found_final_after_seconds`: an order
    the rail doesn't know that long after it was sent will never happen; None: it gives no such
    promise. `sandbox`: moves no real money, so test mode sees it and live mode never does.
    `approval_prior`: expected share of approvals before anything was learned. `brands`: the card
    brands it takes, None for all. `amount_limits` by currency. `cut_off`: None around the clock.
    `provider`: whose callback address serves this rail, where one serves several. `pace`: None for a rail
    that answers while a customer waits.
    """

    name: str
    kind: RailKind
    flows: frozenset[Flow]
    prices: Mapping[str, RailPrice]
    settlement_seconds: float
    final_funds: bool
    idempotent: bool
    not_found_final_after_seconds: int | None
    approval_prior: float
    payout_destinations: frozenset[str] = frozenset()
    sandbox: bool = False
    brands: frozenset[str] | None = None
    amount_limits: Mapping[str, AmountLimits] = field(default_factory=dict)
    cut_off: CutOff | None = None
    provider: str | None = None
    pace: RailPace | None = None

    def __post_init__(self) -> None:
        assert 0.0 < self.approval_prior < 1.0
        assert self.settlement_seconds >= 0.0
        assert bool(self.payout_destinations) == (Flow.PAYOUT in self.flows)

    @property
    def currencies(self) -> frozenset[str]:
        """Return the currencies the rail has a price for."""
        return frozenset(self.prices)

    def takes(self, currency: str, amount_minor: int | None = None, brand: str | None = None) -> bool:
        """Tell whether an order may go to this rail; what isn't known of the order is not held against it."""
        limits = self.amount_limits.get(currency)
        return (
            currency in self.prices
            and (amount_minor is None or limits is None or limits.take(amount_minor))
            and (not brand or self.brands is None or brand in self.brands)
        )

    def final_after_seconds(self, now: datetime) -> float:
        """Return the wait of an order given now until its money is final, cut-off and bank holidays included."""
        waits = 0.0 if self.cut_off is None else seconds_until_taken(self.cut_off, now)
        return waits + self.settlement_seconds


class RailAdapter(Protocol):
    """One rail. Failures of the rail are answers, never exceptions; only cancellation passes through."""

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        ...

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the rail within `request.deadline_seconds`.

        Idempotent on `request.rail_key`: at a rail without idempotency of its own a resumed order is
        asked about before it is sent again.

        Raises:
            ValueError: the rail has no capability for this flow. Not retryable.
        """
        ...

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Return what became of an order: UNKNOWN while the rail can't tell.

        NOT_ATTEMPTED only where the rail guarantees that an unknown order will never happen. Call it
        only when no send of this key is under way. Safe to repeat.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        ...


@runtime_checkable
class Tended(Protocol):
    """An adapter with work of its own between orders, such as looking after transactions until they are final."""

    async def start(self) -> None:
        """Begin, in the background of the running event loop; `aclose` ends it."""
        ...


@runtime_checkable
class CallbackReader(Protocol):
    """An adapter whose rail calls back: it alone knows how the rail signs and what it means."""

    def read_callback(self, callback: Callback) -> Sequence[InboundNotice]:
        """Return the notices of a callback; none where it is about nothing of ours. No I/O.

        Raises:
            CallbackRefusedError: the signature is missing, wrong or too old. Not retryable.
            CallbackUnreadableError: it is signed and yet not understood. Retryable once it is.
        """
        ...


@runtime_checkable
class NoticeCollector(Protocol):
    """An adapter that has to fetch what its rail tells: files of a bank, blocks of a chain."""

    async def collect_notices(self) -> Sequence[InboundNotice]:
        """Return what is new at the rail. At least once: what is returned again is the same notice by its id.

        Called every half minute or so, by one process at a time; may take minutes.
        """
        ...


@runtime_checkable
class RecordKeeper(Protocol):
    """An adapter that must remember something of its own before it calls: numbers, messages, files."""

    def keep_records_in(self, records: RailRecords) -> None:
        """Take the place where records are kept, before the first order."""
        ...


def profile_document(profile: RailProfile) -> dict[str, Any]:
    """Return the profile as the API shows it."""
    return {
        "rail": profile.name,
        "object": "rail",
        "kind": profile.kind,
        "flows": sorted(flow.value for flow in profile.flows),
        "currencies": sorted(profile.prices),
        "prices": {
            currency: {"basis_points": price.basis_points, "fixed": price.fixed_minor}
            for currency, price in sorted(profile.prices.items())
        },
        "settlement_seconds": profile.settlement_seconds,
        "final_funds": profile.final_funds,
        "idempotent": profile.idempotent,
        "payout_destinations": sorted(profile.payout_destinations),
        "brands": None if profile.brands is None else sorted(profile.brands),
        "amount_limits": {
            currency: {"smallest": limits.smallest_minor, "largest": limits.largest_minor}
            for currency, limits in sorted(profile.amount_limits.items())
        },
        "cut_off": None
        if profile.cut_off is None
        else {
            "at": profile.cut_off.at.isoformat("minutes"),
            "zone": profile.cut_off.zone,
            "calendar": profile.cut_off.calendar,
        },
    }
