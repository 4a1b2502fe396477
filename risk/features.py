"""What the risk model sees of a charge: one pure function, the same at training and serving.

Decides names, order, units and encodings of the features. Decides no threshold and no outcome.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from domain.identifiers import Mode
from domain.money import exponent

EUR_MAGNITUDE: Mapping[str, float] = {
    "AUD": 0.6,
    "BRL": 0.17,
    "CAD": 0.65,
    "CHF": 1.0,
    "CLP": 0.001,
    "CNY": 0.13,
    "CZK": 0.04,
    "DKK": 0.13,
    "GBP": 1.2,
    "HUF": 0.0025,
    "IDR": 0.00006,
    "INR": 0.011,
    "JPY": 0.006,
    "KRW": 0.0007,
    "KWD": 3.0,
    "MXN": 0.05,
    "NOK": 0.09,
    "PLN": 0.23,
    "SEK": 0.09,
    "TRY": 0.025,
    "USD": 0.9,
    "USDC": 0.9,
    "VND": 0.000035,
    "ZAR": 0.05,
}
"""Rough worth of one major unit in EUR (2025), so that 8,000 JPY and 50 EUR look alike to the model.

Orders of magnitude, not exchange rates: nothing here ever prices money. A currency not listed counts 1:1.
"""

CURRENCY_CODES: Mapping[str, float] = {"EUR": 1.0, "USD": 2.0, "GBP": 3.0, "CHF": 4.0, "JPY": 5.0}
BRAND_CODES: Mapping[str, float] = {"visa": 1.0, "mastercard": 2.0, "amex": 3.0}

FEATURE_NAMES: tuple[str, ...] = (
    "amount_log10_eur",
    "hour_sin",
    "hour_cos",
    "country_mismatch",
    "brand_code",
    "currency_code",
    "token_age_log10_hours",
    "attempts_10_minutes",
    "attempts_24_hours",
    "declines_24_hours",
    "decline_share_24_hours",
    "is_new_customer",
)
"""The order of the vector; a trained model remembers it and refuses another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFacts:
    """Everything a score may depend on, as known *before* the first attempt of this charge.

    `amount_minor` is minor units of `currency`. `requested_at` has a time zone. Countries are ISO 3166
    alpha-2, None when unknown. `brand` is lower case. `token_age_seconds` counts from the token's
    creation, None when unknown. The counts are of earlier attempts on the same card fingerprint,
    this charge not included; declines are a subset of attempts.
    """

    source: str
    mode: Mode
    amount_minor: int
    currency: str
    requested_at: datetime
    merchant_country: str | None = None
    bin_country: str | None = None
    brand: str | None = None
    token_age_seconds: float | None = None
    attempts_10_minutes: int = 0
    attempts_24_hours: int = 0
    declines_24_hours: int = 0
    is_new_customer: bool = False


def amount_eur(amount_minor: int, currency: str) -> float:
    """Return the magnitude of an amount in EUR-like major units: 842000 JPY minor is 5052.0."""
    return amount_minor / float(10 ** exponent(currency)) * EUR_MAGNITUDE.get(currency, 1.0)


def feature_vector(facts: RiskFacts) -> list[float]:
    """Return the float64 features of a charge in the order of `FEATURE_NAMES`.

    - amount_log10_eur: log10(1 + EUR-like major units)
    - hour_sin, hour_cos: the UTC hour with its minutes on a circle of 24 h
    - country_mismatch: 1 if card and merchant are of different countries, 0 if the same, -1 if unknown
    - brand_code, currency_code: small codes, 0 for any other
    - token_age_log10_hours: log10(1 + hours), -1 if unknown
    - attempts_10_minutes, attempts_24_hours, declines_24_hours: counts, capped at 100
    - decline_share_24_hours: declines / attempts of 24 h, 0 without attempts
    - is_new_customer: 0 or 1
    """
    instant = facts.requested_at.astimezone(UTC)
    angle = (instant.hour + instant.minute / 60) / 24 * math.tau
    attempts = max(facts.attempts_24_hours, facts.attempts_10_minutes)
    return [
        math.log10(1 + amount_eur(facts.amount_minor, facts.currency)),
        math.sin(angle),
        math.cos(angle),
        _country_mismatch(facts.merchant_country, facts.bin_country),
        BRAND_CODES.get(facts.brand or "", 0.0),
        CURRENCY_CODES.get(facts.currency, 0.0),
        -1.0 if facts.token_age_seconds is None else math.log10(1 + max(0.0, facts.token_age_seconds) / 3600),
        float(min(facts.attempts_10_minutes, 100)),
        float(min(attempts, 100)),
        float(min(facts.declines_24_hours, 100)),
        min(1.0, facts.declines_24_hours / attempts) if attempts else 0.0,
        1.0 if facts.is_new_customer else 0.0,
    ]


def _country_mismatch(merchant_country: str | None, bin_country: str | None) -> float:
    if not merchant_country or not bin_country:
        return -1.0
    return 0.0 if merchant_country == bin_country else 1.0
