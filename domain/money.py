"""Money: whole minor units and a currency. No floats, anywhere.

Exponents come from ISO 4217 (kept in step with the `iso4217` package by a test) plus USDC.
"""

from collections.abc import Sequence

from domain.currencies import EXPONENTS

AMOUNT_MINOR_MAX = 10**15
"""Largest single amount taken: a quadrillion minor units; far below 2^63, above any payment."""


def exponent(currency: str) -> int:
    """Return the decimal places of `currency` (EUR 2, JPY 0, KWD 3, USDC 6).

    Raises:
        KeyError: the currency is not known. Not retryable.
    """
    return EXPONENTS[currency]


def is_currency(code: str) -> bool:
    """Tell whether `code` is an upper-case currency this core can keep a book in."""
    return code in EXPONENTS


def check_amount(amount_minor: int) -> None:
    """Assert that an amount may enter the ledger: an int, positive, not above the maximum."""
    assert type(amount_minor) is int, f"amount is a {type(amount_minor).__name__}, not an int"
    assert 0 < amount_minor <= AMOUNT_MINOR_MAX, f"amount {amount_minor} out of range"


def format_amount(amount_minor: int, currency: str) -> str:
    """Return a person's reading of an amount: `84.20 EUR`, `-5 JPY`."""
    places = EXPONENTS[currency]
    sign, magnitude = ("-" if amount_minor < 0 else ""), abs(amount_minor)
    if places == 0:
        return f"{sign}{magnitude} {currency}"
    whole, fraction = divmod(magnitude, 10**places)
    return f"{sign}{whole}.{fraction:0{places}d} {currency}"


def proportion_half_up(amount_minor: int, numerator: int, denominator: int) -> int:
    """Return `amount_minor * numerator / denominator`, halves rounded up, in integers only.

    8420 at 140/10000 is 117.88, so 118; 50 at 1/100 is 0.5, so 1.
    """
    assert amount_minor >= 0 and numerator >= 0 and denominator > 0
    return (2 * amount_minor * numerator + denominator) // (2 * denominator)


def allocate(amount_minor: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Return `amount_minor` split in proportion to `weights`; the parts add up to exactly the amount.

    Each part is rounded down; the units left over go one each to the largest remainders, the earlier
    part first where remainders are equal. So a part is never a whole unit away from its exact share.
    100 over (1, 1, 1) is (34, 33, 33); 10 over (1, 2, 4) has exact shares 1.43, 2.86 and 5.71, rounded
    down (1, 2, 5), and the two units left go to the second and third: (1, 3, 6).

    Args:
        amount_minor: what to split, not negative.
        weights: whole numbers, none negative, at least one positive.
    """
    total = sum(weights)
    assert type(amount_minor) is int and amount_minor >= 0, "an amount to split is a whole number, not negative"
    assert all(type(weight) is int and weight >= 0 for weight in weights) and total > 0, "weights give no proportion"
    parts = [amount_minor * weight // total for weight in weights]
    left = amount_minor - sum(parts)
    by_remainder = sorted(range(len(parts)), key=lambda place: (-(amount_minor * weights[place] % total), place))
    for place in by_remainder[:left]:
        parts[place] += 1
    assert sum(parts) == amount_minor
    return tuple(parts)
