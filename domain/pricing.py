"""What the merchant pays per charge: a proportion and a fixed part, per currency."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.money import proportion_half_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price: `basis_points` of the amount (1/10000) plus `fixed_minor` minor units."""

    basis_points: int
    fixed_minor: int

    def __post_init__(self) -> None:
        assert 0 <= self.basis_points <= 10_000 and self.fixed_minor >= 0


def fee_minor(amount_minor: int, price: Price) -> int:
    """Return the fee in minor units, never above the amount.

    8420 EUR cents at 1.40 % + 40: 117.88 rounds to 118, plus 40 is 158.
    """
    fee = proportion_half_up(amount_minor, price.basis_points, 10_000) + price.fixed_minor
    return min(fee, amount_minor)


def price_of(prices: Mapping[str, Price], currency: str) -> Price:
    """Return the price in `currency`, or the one for all others (`*`)."""
    return prices.get(currency) or prices["*"]


def _read_default_prices() -> dict[str, Price]:
    document = json.loads((Path(__file__).parent / "default_prices.json").read_text())
    return {
        currency: Price(basis_points=price["basis_points"], fixed_minor=price["fixed"])
        for currency, price in document["prices"].items()
    }


DEFAULT_PRICES: Mapping[str, Price] = _read_default_prices()
"""List prices by currency; source and date are in `default_prices.json`."""
