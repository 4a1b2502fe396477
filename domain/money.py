"""Money: whole minor units and a currency. No floats, anywhere.

Exponents come from ISO 4217 (kept in step with the `iso4217` package by a test) plus USDC.
"""

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
