"""What a merchant pays: per rail and currency a proportion and a fixed part, less as the month's volume grows.

Graduated by charge: a charge pays the price of the tier that the month's volume had reached before it;
charges made earlier in the month keep theirs, and no charge is split over two tiers.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from domain.money import proportion_half_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price: `basis_points` of the amount (1/10000) plus `fixed_minor` minor units."""

    basis_points: int
    fixed_minor: int

    def __post_init__(self) -> None:
        assert 0 <= self.basis_points <= 10_000 and self.fixed_minor >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A price from a month's volume on: `from_minor` was captured in the currency before the charge."""

    from_minor: int
    price: Price


class PricingModel(StrEnum):
    """BLENDED: the price is all there is. COST_PLUS: the price comes on top of what the rail costs.

    What the rail costs is estimated at authorization and known at settlement; the difference is a true-up.
    """

    BLENDED = "blended"
    COST_PLUS = "cost_plus"


class RefundFee(StrEnum):
    """How much of a charge's fee a refund gives back.

    NONE: nothing. PRORATA: the share of what was refunded. FULL: all of it once all is refunded, until then nothing.
    """

    NONE = "none"
    PRORATA = "prorata"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """The tiers for one rail and currency, `*` for any; the first begins at 0 and they rise."""

    rail: str
    currency: str
    tiers: tuple[Tier, ...]

    def __post_init__(self) -> None:
        steps = [tier.from_minor for tier in self.tiers]
        assert steps and steps[0] == 0 and all(low < high for low, high in itertools.pairwise(steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingPlan:
    """A merchant's prices. `dispute_fees` by currency in minor units, `*` for others; empty: the list's."""

    name: str = "list"
    model: PricingModel = PricingModel.BLENDED
    lines: tuple[PriceLine, ...] = ()
    refund_fee: RefundFee = RefundFee.NONE
    dispute_fees: Mapping[str, int] = field(default_factory=dict)
    dispute_fee_when_won: str = "kept"

    def tier(self, rail: str, currency: str, volume_minor: int) -> Tier:
        """Return the tier for a charge on a rail, `volume_minor` having been captured this month before it.

        The most specific line counts: rail and currency, any rail, any currency, and at last the list price.
        """
        by_place = {(line.rail, line.currency): line for line in self.lines}
        for place in ((rail, currency), ("*", currency), (rail, "*"), ("*", "*")):
            if place in by_place:
                return [tier for tier in by_place[place].tiers if tier.from_minor <= volume_minor][-1]
        return Tier(from_minor=0, price=price_of(DEFAULT_PRICES, currency))


def fee_minor(amount_minor: int, price: Price) -> int:
    """Return the fee in minor units, never above the amount.

    8420 EUR cents at 1.40 % + 40: 117.88 rounds to 118, plus 40 is 158.
    """
    fee = proportion_half_up(amount_minor, price.basis_points, 10_000) + price.fixed_minor
    return min(fee, amount_minor)


def fee_to_return_minor(policy: str, fee_minor_total: int, refunded_minor: int, captured_minor: int) -> int:
    """Return how much of a fee has to be back with the merchant once `refunded_minor` is with the customer.

    In all, not for one refund: what each adds is the difference to what was returned before, so that any
    split adds up to the fee. 158 of 8420: 94 after 5000 (93.82), all 158 after 8420.
    """
    assert refunded_minor >= 0 and captured_minor > 0
    refunded_minor = min(refunded_minor, captured_minor)
    if policy == RefundFee.PRORATA:
        return proportion_half_up(fee_minor_total, refunded_minor, captured_minor)
    if policy == RefundFee.FULL:
        return fee_minor_total if refunded_minor == captured_minor else 0
    return 0


def price_of(prices: Mapping[str, Price], currency: str) -> Price:
    """Return the price in `currency`, or the one for all others (`*`)."""
    return prices.get(currency) or prices["*"]


def pricing_plan_of(document: Mapping[str, Any] | None) -> PricingPlan:
    """Return a stored plan, or the list prices for a merchant who has none."""
    if document is None:
        return PricingPlan()
    if "lines" not in document:
        # As stored before there were tiers: prices by currency on any rail.
        lines = tuple(
            PriceLine(rail="*", currency=currency, tiers=(Tier(from_minor=0, price=_price(price)),))
            for currency, price in document["prices"].items()
        )
        return PricingPlan(name="own", lines=lines)
    return PricingPlan(
        name=document["name"],
        model=PricingModel(document["model"]),
        lines=tuple(
            PriceLine(
                rail=line["rail"],
                currency=line["currency"],
                tiers=tuple(Tier(from_minor=tier["from"], price=_price(tier)) for tier in line["tiers"]),
            )
            for line in document["lines"]
        ),
        refund_fee=RefundFee(document["refund_fee"]),
        dispute_fees=document["dispute_fees"],
        dispute_fee_when_won=document["dispute_fee_when_won"],
    )


def pricing_plan_document(plan: PricingPlan) -> dict[str, Any]:
    """Return the plan as it is stored and shown."""
    return {
        "name": plan.name,
        "model": plan.model.value,
        "lines": [
            {
                "rail": line.rail,
                "currency": line.currency,
                "tiers": [{"from": tier.from_minor, **price_document(tier.price)} for tier in line.tiers],
            }
            for line in plan.lines
        ],
        "refund_fee": plan.refund_fee.value,
        "dispute_fees": dict(plan.dispute_fees),
        "dispute_fee_when_won": plan.dispute_fee_when_won,
    }


def price_document(price: Price) -> dict[str, int]:
    """Return a price as it is stored and shown."""
    return {"basis_points": price.basis_points, "fixed": price.fixed_minor}


def decided_pricing(
    plan: PricingPlan, currency: str, volume_minor: int, month: str, costs: Mapping[str, int]
) -> dict[str, Any]:
    """Return what a charge will cost on each rail it may go to, decided once, before any is asked.

    `costs`: the estimated cost of each rail of its route, in minor units. Stored on the charge: from it
    the fee can be recomputed (`fee_of_capture`).
    """
    rows = []
    for rail, cost in costs.items():
        tier = plan.tier(rail, currency, volume_minor)
        passed_on = cost if plan.model is PricingModel.COST_PLUS else 0
        rows.append(
            {"rail": rail, "tier_from": tier.from_minor, **price_document(tier.price), "cost_estimate": passed_on}
        )
    return {
        "plan": plan.name,
        "model": plan.model.value,
        "month": month,
        "month_volume": volume_minor,
        "refund_fee": plan.refund_fee.value,
        "prices": rows,
    }


def fee_of_capture(
    pricing: Mapping[str, Any], rail: str, *, amount_minor: int, captured_before_minor: int, charge_minor: int
) -> int:
    """Return the fee of one capture from what was decided: the fixed part once, the rail's cost by its share.

    Never above the capture. 3000 of 8420 at 1.40 % + 40 and a cost of 86: 42 + 40 + 31 is 113.
    """
    row = next(one for one in pricing["prices"] if one["rail"] == rail)
    fixed = row["fixed"] if captured_before_minor == 0 else 0
    fee = fee_minor(amount_minor, Price(basis_points=row["basis_points"], fixed_minor=fixed))
    before = proportion_half_up(row["cost_estimate"], captured_before_minor, charge_minor)
    after = proportion_half_up(row["cost_estimate"], captured_before_minor + amount_minor, charge_minor)
    return min(fee + after - before, amount_minor)


def _price(document: Mapping[str, Any]) -> Price:
    return Price(basis_points=document["basis_points"], fixed_minor=document["fixed"])


def _read_default_prices() -> dict[str, Price]:
    document = json.loads((Path(__file__).parent / "default_prices.json").read_text())
    return {currency: _price(price) for currency, price in document["prices"].items()}


DEFAULT_PRICES: Mapping[str, Price] = _read_default_prices()
"""List prices by currency; source and date are in `default_prices.json`."""
