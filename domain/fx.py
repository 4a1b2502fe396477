"""Foreign exchange: rates as exact rationals, conversion in whole minor units, and the quote. Pure.

A rate is units of what is bought per unit of what is sold, in main units (1.0840 USD per EUR). It is a
`Fraction`; on the wire it is decimal text; it is never a float.

Rounding: the client's rate is the mid rate less the spread, rounded down to ten significant digits, so
that the text on the quote is the whole truth about it. From a sold amount, what is bought is rounded
down; from a bought amount, what is sold is rounded up. Nobody gains by converting there and back.
100.00 EUR at 1.084 are 108.40 USD; 1.00 EUR at 163.27 are 163 JPY (163.27 rounded down); 1000 JPY at
0.0018795 are 1.879 KWD (1.8795 rounded down); to buy 1.000000 USDC at 1.083 takes 0.93 EUR (0.9234
rounded up).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal, Protocol

from domain.identifiers import Mode
from domain.ledger import Refusal, RefusalCode
from domain.money import check_amount, exponent
from domain.timestamps import rfc3339

SIGNIFICANT_DIGITS = 10
DECIMALS_LEAST = 4
RATE_TEXT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,24})?")


def parse_rate(text: str) -> Fraction:
    """Return the rate that a decimal text stands for, exactly: `1.0840` is 271/250.

    Raises:
        ValueError: it is no plain decimal above zero. Not retryable.
    """
    if not isinstance(text, str) or RATE_TEXT.fullmatch(text) is None or Fraction(text) == 0:
        raise ValueError("a rate is text like 1.0840, above zero")
    return Fraction(text)


def round_rate(rate: Fraction) -> Fraction:
    """Return the rate rounded down to ten significant digits: 2/3 is 0.6666666666."""
    assert rate > 0
    places = SIGNIFICANT_DIGITS
    while rate * Fraction(10) ** places >= 10**SIGNIFICANT_DIGITS:
        places -= 1
    while rate * Fraction(10) ** places < 10 ** (SIGNIFICANT_DIGITS - 1):
        places += 1
    scale = Fraction(10) ** places
    return Fraction(math.floor(rate * scale)) / scale


def write_rate(rate: Fraction) -> str:
    """Return a rounded rate as decimal text with at least four places; `parse_rate` gives it back exactly."""
    places = DECIMALS_LEAST
    while (rate * 10**places).denominator != 1:
        places += 1
        assert places <= 24, "only rounded rates are written"
    whole, fraction = divmod(int(rate * 10**places), 10**places)
    return f"{whole}.{fraction:0{places}d}"


def client_rate(mid: Fraction, spread_basis_points: int) -> Fraction:
    """Return the rate a client gets: the mid rate less the spread (1/10000), rounded down.

    1.0840 less 25 basis points is 1.08129.
    """
    assert 0 <= spread_basis_points < 10_000
    return round_rate(mid * (10_000 - spread_basis_points) / 10_000)


def bought_minor(sell_amount_minor: int, rate: Fraction, *, sell_currency: str, buy_currency: str) -> int:
    """Return what a sold amount buys, in minor units of `buy_currency`, rounded down; 0 if it buys nothing."""
    return math.floor(sell_amount_minor * _minor_rate(rate, sell_currency, buy_currency))


def sold_minor(buy_amount_minor: int, rate: Fraction, *, sell_currency: str, buy_currency: str) -> int:
    """Return what a bought amount costs, in minor units of `sell_currency`, rounded up."""
    return math.ceil(buy_amount_minor / _minor_rate(rate, sell_currency, buy_currency))


def _minor_rate(rate: Fraction, sell_currency: str, buy_currency: str) -> Fraction:
    # 1 JPY (exponent 0) is 1 minor unit, 1 KWD (exponent 3) is 1000: main units become minor units here.
    return rate * Fraction(10) ** (exponent(buy_currency) - exponent(sell_currency))


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTable:
    """Mid rates of one moment: `per_base` units of each currency per unit of `base`.

    `source` and `as_of` say whose they are and when they held. `sandbox`: invented, never for live money.
    """

    source: str
    as_of: datetime
    sandbox: bool
    base: str
    per_base: Mapping[str, Fraction]

    def mid(self, sell_currency: str, buy_currency: str) -> Fraction | None:
        """Return the exact mid rate of a pair, through the base; None if a currency has no rate."""
        sell, buy = self._of(sell_currency), self._of(buy_currency)
        return buy / sell if sell is not None and buy is not None else None

    def _of(self, currency: str) -> Fraction | None:
        return Fraction(1) if currency == self.base else self.per_base.get(currency)


class RatesUnavailableError(Exception):
    """No rates can be had at the moment. Retryable."""


class RateSource(Protocol):
    """Where mid rates come from."""

    def read(self) -> RateTable:
        """Return the rates that hold now.

        Raises:
            RatesUnavailableError: there are none to be had. Retryable.
        """
        ...


class QuoteStatus(StrEnum):
    """An open quote may be used once; past `expires_at` it is shown as expired without being written."""

    OPEN = "open"
    USED = "used"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class FxQuote:
    """The whole state of a quote. `rate` is decimal text; `fixed_side` is the amount the client named.

    `transfer`: the one that used it.
    """

    id: str
    merchant_id: str
    mode: Mode
    sell_currency: str
    sell_amount_minor: int
    buy_currency: str
    buy_amount_minor: int
    fixed_side: Literal["sell", "buy"]
    rate: str
    mid_rate: str
    spread_basis_points: int
    rate_source: str
    rate_as_of: datetime
    created_at: datetime
    expires_at: datetime
    status: QuoteStatus = QuoteStatus.OPEN
    version: int = 1
    transfer: str | None = None

    def __post_init__(self) -> None:
        check_amount(self.sell_amount_minor)
        check_amount(self.buy_amount_minor)
        assert self.sell_currency != self.buy_currency, "an exchange is between two currencies"
        assert self.created_at < self.expires_at
        currencies = {"sell_currency": self.sell_currency, "buy_currency": self.buy_currency}
        rate = parse_rate(self.rate)
        if self.fixed_side == "sell":
            assert self.buy_amount_minor == bought_minor(self.sell_amount_minor, rate, **currencies)
        else:
            assert self.sell_amount_minor == sold_minor(self.buy_amount_minor, rate, **currencies)


def refuse_quote(quote: FxQuote, now: datetime) -> Refusal | None:
    """Return why a quote can't be used at `now`; None if it may be tried. Half-open: at `expires_at` it is over."""
    if quote.status is QuoteStatus.USED:
        return quote_used(quote.id)
    if now >= quote.expires_at:
        detail = f"The quote expired at {rfc3339(quote.expires_at)}. Ask for a new one."
        return Refusal(code=RefusalCode.FX_QUOTE_EXPIRED, detail=detail, object_id=quote.id)
    return None


def quote_used(quote_id: str) -> Refusal:
    """Return the refusal of a quote that another transfer has used."""
    detail = "Another transfer has used this quote; a quote is good for one. Ask for a new one."
    return Refusal(code=RefusalCode.FX_QUOTE_USED, detail=detail, object_id=quote_id)


def quote_document(quote: FxQuote) -> dict[str, Any]:
    """Return the quote as the API shows it (an open one past its time is shown as expired by the reader)."""
    return {
        "id": quote.id,
        "object": "fx_quote",
        "status": quote.status.value,
        "sell_currency": quote.sell_currency,
        "sell_amount": quote.sell_amount_minor,
        "buy_currency": quote.buy_currency,
        "buy_amount": quote.buy_amount_minor,
        "fixed_side": quote.fixed_side,
        "rate": quote.rate,
        "mid_rate": quote.mid_rate,
        "spread_basis_points": quote.spread_basis_points,
        "rate_source": quote.rate_source,
        "rate_as_of": rfc3339(quote.rate_as_of),
        "transfer": quote.transfer,
        "expires_at": rfc3339(quote.expires_at),
        "livemode": quote.mode is Mode.LIVE,
        "created_at": rfc3339(quote.created_at),
    }


def quote_from_document(document: Mapping[str, Any], *, merchant_id: str, version: int) -> FxQuote:
    """Return the quote that a stored document shows."""
    return FxQuote(
        id=document["id"],
        merchant_id=merchant_id,
        mode=Mode.LIVE if document["livemode"] else Mode.TEST,
        sell_currency=document["sell_currency"],
        sell_amount_minor=document["sell_amount"],
        buy_currency=document["buy_currency"],
        buy_amount_minor=document["buy_amount"],
        fixed_side=document["fixed_side"],
        rate=document["rate"],
        mid_rate=document["mid_rate"],
        spread_basis_points=document["spread_basis_points"],
        rate_source=document["rate_source"],
        rate_as_of=datetime.fromisoformat(document["rate_as_of"]),
        created_at=datetime.fromisoformat(document["created_at"]),
        expires_at=datetime.fromisoformat(document["expires_at"]),
        status=QuoteStatus(document["status"]),
        version=version,
        transfer=document["transfer"],
    )
