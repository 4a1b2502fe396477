"""What the sandbox's own tokens mean to risk: the one place where a test token bends a score.

Test mode only. These tokens are shared instruments, not cards: everybody uses the same
`tok_visa_4291`, hundreds of times a minute, at any hour. Velocity, declines, age and country of a
card say nothing about them, so they are scored as an ordinary card of the merchant's own country;
their own behaviour at the rails is what the tester asked to see.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from domain.identifiers import Mode
from domain.sandbox import is_sandbox_token
from risk.features import RiskFacts

SANDBOX_SCORES: Mapping[str, float] = {"tok_risk_block": 0.97, "tok_risk_step_up": 0.75}
"""Scores put in place of the model's; under the default policy they block and step up."""

SANDBOX_REASON = "sandbox token"

_ORDINARY_TOKEN_AGE_SECONDS = 90 * 86_400.0
_ORDINARY_INSTANT = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
_ORDINARY_COUNTRY = "DE"


def is_shared_instrument(source: str, mode: Mode) -> bool:
    """Tell whether `source` is one of the sandbox's own tokens, which mean nothing in live mode."""
    return mode is Mode.TEST and is_sandbox_token(source)


def sandbox_score(source: str, mode: Mode) -> float | None:
    """Return the score a sandbox token stands for, or None when the model is to be asked."""
    return SANDBOX_SCORES.get(source) if mode is Mode.TEST else None


def as_ordinary_card(facts: RiskFacts) -> RiskFacts:
    """Return the facts of a sandbox token's charge with everything but the amount made ordinary."""
    country = facts.merchant_country or _ORDINARY_COUNTRY
    return replace(
        facts,
        requested_at=_ORDINARY_INSTANT,
        merchant_country=country,
        bin_country=country,
        brand="visa",
        token_age_seconds=_ORDINARY_TOKEN_AGE_SECONDS,
        attempts_10_minutes=0,
        attempts_24_hours=0,
        declines_24_hours=0,
        is_new_customer=False,
    )
