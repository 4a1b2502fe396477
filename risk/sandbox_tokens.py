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
from risk.features import RiskFacts

SANDBOX_TOKENS = frozenset(
    {
        "tok_3ds",
        "tok_declined_hard",
        "tok_declined_soft",
        "tok_disputed",
        "tok_hard_then_approved",
        "tok_not_attempted",
        "tok_refund_fails",
        "tok_risk_block",
        "tok_risk_step_up",
        "tok_soft_then_approved",
        "tok_timeout_approved",
        "tok_timeout_declined",
        "tok_timeout_forever",
        "tok_visa_4291",
    }
)
"""The tokens of the public contract (`docs` of the sandbox list what each does at the rails)."""

SANDBOX_SCORES: Mapping[str, float] = {"tok_risk_block": 0.97, "tok_risk_step_up": 0.75}
"""Scores put in place of the model's; under the default policy they block and step up."""

SANDBOX_REASON = "sandbox token"

_ORDINARY_TOKEN_AGE_SECONDS = 90 * 86_400.0
_ORDINARY_INSTANT = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
_ORDINARY_COUNTRY = "DE"


def is_sandbox_token(source: str, mode: Mode) -> bool:
    """Tell whether `source` is one of the sandbox's own tokens, which exist in test mode only."""
    return mode is Mode.TEST and source in SANDBOX_TOKENS


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
