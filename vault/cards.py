"""What may be known of a card number without storing it, and what makes a card acceptable.

Decides shape, checksum, brand, country of the issuer and expiry. A number never appears in the repr of
anything here nor in any refusal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

_BIN_COUNTRIES: Mapping[str, str] = json.loads(
    (Path(__file__).parent / "bin_countries.json").read_text(encoding="utf-8")
)["prefixes"]
_PREFIX_LENGTHS = sorted({len(prefix) for prefix in _BIN_COUNTRIES}, reverse=True)
_FIELDS = frozenset({"number", "exp_month", "exp_year", "cvc"})
_YEARS_AHEAD_MAX = 50


class CardRefusedError(Exception):
    """A card that cannot be taken. `code` and `param` are wire names; nothing of the input is in it.

    Not retryable: the caller has to send something else.
    """

    def __init__(self, code: str, param: str, detail: str) -> None:
        super().__init__(f"{code} ({param})")
        self.code = code
        self.param = param
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class CardInput:
    """A card as handed in for tokenization: checked, without its CVC.

    `number` is 12 to 19 digits and passes Luhn; hidden from repr. `exp_year` has four digits.
    """

    number: str = field(repr=False)
    exp_month: int
    exp_year: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CardDetails:
    """A card as taken out of the vault, for the one call it is needed in. Hidden from repr."""

    number: str = field(repr=False)
    exp_month: int
    exp_year: int


def parse_card(card: Any, *, today: date) -> CardInput:
    """Return the checked card of a request's `card` object; a CVC is checked for shape and dropped.

    Raises:
        CardRefusedError: what is wrong and where, without a digit of it. Not retryable.
    """
    if not isinstance(card, dict):
        raise CardRefusedError("card_required", "card", "Card must be an object with number, exp_month and exp_year.")
    unknown = sorted(str(name) for name in card.keys() - _FIELDS)
    if unknown:
        # A misnamed field may carry the number in its name as well: not echoed either.
        raise CardRefusedError("unknown_field", "card", "Card may hold number, exp_month, exp_year and cvc only.")
    number = _number(card.get("number"))
    exp_month, exp_year = _expiry(card.get("exp_month"), card.get("exp_year"), today)
    _check_cvc(card.get("cvc"), brand_of(number))
    return CardInput(number=number, exp_month=exp_month, exp_year=exp_year)


def _number(value: Any) -> str:
    if not isinstance(value, str):
        raise CardRefusedError("card_number_must_be_text", "card.number", "The card number must be a string of digits.")
    digits = value.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
        raise CardRefusedError("card_number_invalid", "card.number", "The card number must have 12 to 19 digits.")
    if not passes_luhn(digits):
        raise CardRefusedError("card_number_invalid", "card.number", "The card number's check digit is wrong.")
    return digits


def _expiry(month: Any, year: Any, today: date) -> tuple[int, int]:
    if type(month) is not int or not 1 <= month <= 12:
        raise CardRefusedError("exp_month_invalid", "card.exp_month", "`exp_month` must be an integer from 1 to 12.")
    if type(year) is not int or not today.year - 100 <= year <= today.year + _YEARS_AHEAD_MAX:
        raise CardRefusedError("exp_year_invalid", "card.exp_year", "`exp_year` must be an integer of four digits.")
    if (year, month) < (today.year, today.month):
        raise CardRefusedError("card_expired", "card.exp_year", "The card has expired.")
    return month, year


def _check_cvc(cvc: Any, brand: str) -> None:
    if cvc is None:
        return
    length = (4,) if brand == "amex" else (3,) if brand != "unknown" else (3, 4)
    if not (isinstance(cvc, str) and cvc.isascii() and cvc.isdigit() and len(cvc) in length):
        raise CardRefusedError(
            "cvc_invalid", "card.cvc", "`cvc` must be a string of 3 digits (4 for American Express)."
        )


def passes_luhn(digits: str) -> bool:
    """Tell whether the check digit fits (ISO/IEC 7812-1 annex B): 4242424242424242 does."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def brand_of(number: str) -> str:
    """Return the scheme by its published ranges: `visa`, `mastercard`, `amex`, …, or `unknown`."""
    two, four = int(number[:2]), int(number[:4])
    if number[0] == "4":
        return "visa"
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return "mastercard"
    if two in (34, 37):
        return "amex"
    if four == 6011 or two == 65 or 644 <= int(number[:3]) <= 649:
        return "discover"
    if two in (36, 38, 39) or 300 <= int(number[:3]) <= 305:
        return "diners"
    if 3528 <= four <= 3589:
        return "jcb"
    if two == 62:
        return "unionpay"
    return "unknown"


def bin_country_of(number: str) -> str | None:
    """Return the issuer's country (ISO 3166 alpha-2) by the longest known prefix, None if unknown."""
    for length in _PREFIX_LENGTHS:
        country = _BIN_COUNTRIES.get(number[:length])
        if country is not None:
            return country
    return None
