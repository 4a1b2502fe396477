"""What the merchant pays per charge: a proportion and a fixed part, per currency."""

from dataclasses import dataclass

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
