"""What a source token, a test card number or a payout destination makes a sandbox rail do.

Decides outcomes only; `truth.py` keeps the rail's own rules (a capture within its authorization …),
and `server.py` plays lost answers and refused connections on the wire.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

REFUND_FAILS_AFTER_SECONDS = 1.8
DISPUTE_AFTER_SECONDS = 1.0
NOTICE_AFTER_SECONDS = 1.0
"""Between a rail's yes and its word that the money came back: days at a real one."""
CORRECTED_AFTER_SECONDS = 1.0
"""Between a rail's wrong answer and the right one."""

Ending = Literal["approved", "declined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What the rail does with one order.

    `answered`: False means done, but the answer never leaves. `inquiry_tells`: False means nobody
    is ever told. `refused`: the connection is refused and nothing is done.
    `decided_after_seconds`: the rail answers `pending` and knows the ending that much later.
    """

    ending: Ending = "approved"
    decline_code: str | None = None
    answered: bool = True
    inquiry_tells: bool = True
    refused: bool = False
    decided_after_seconds: float = 0.0
    says_first: str | None = None


APPROVES = Conduct()
DECLINES_HARD = Conduct(ending="declined", decline_code="stolen_card")
DECLINES_SOFT = Conduct(ending="declined", decline_code="insufficient_funds")
# Soft and about the rail rather than the card: the class of decline another rail may well approve.
DECLINES_HERE = Conduct(ending="declined", decline_code="issuer_unavailable")
WANTS_AUTHENTICATION = Conduct(ending="declined", decline_code="authentication_required")

# scenario -> (conduct on the first attempt of an operation, conduct on every later one)
SCENARIOS: dict[str, tuple[Conduct, Conduct]] = {
    "approved": (APPROVES, APPROVES),
    "declined_hard": (DECLINES_HARD, DECLINES_HARD),
    "declined_soft": (DECLINES_SOFT, DECLINES_SOFT),
    "soft_then_approved": (DECLINES_HERE, APPROVES),
    "hard_then_approved": (DECLINES_HARD, APPROVES),
    "not_attempted": (Conduct(refused=True), APPROVES),
    "timeout_approved": (Conduct(answered=False), Conduct(answered=False)),
    "timeout_declined": (
        Conduct(ending="declined", decline_code="invalid_account", answered=False),
        Conduct(ending="declined", decline_code="invalid_account", answered=False),
    ),
    "timeout_forever": (
        Conduct(answered=False, inquiry_tells=False),
        Conduct(answered=False, inquiry_tells=False),
    ),
    "account_closed": (
        Conduct(ending="declined", decline_code="account_closed"),
        Conduct(ending="declined", decline_code="account_closed"),
    ),
    "authentication": (WANTS_AUTHENTICATION, WANTS_AUTHENTICATION),
    "refund_fails": (APPROVES, APPROVES),
    "disputed": (APPROVES, APPROVES),
    "inquiry": (APPROVES, APPROVES),
    "refund_fails_late": (APPROVES, APPROVES),
    "returned": (APPROVES, APPROVES),
    "returned_twice": (APPROVES, APPROVES),
    "failed_late": (APPROVES, APPROVES),
    "late_approved": (
        Conduct(says_first="issuer_unavailable", decided_after_seconds=CORRECTED_AFTER_SECONDS),
        APPROVES,
    ),
    "random": (APPROVES, APPROVES),
}

TOKEN_SCENARIOS = {
    "tok_declined_hard": "declined_hard",
    "tok_declined_soft": "declined_soft",
    "tok_soft_then_approved": "soft_then_approved",
    "tok_hard_then_approved": "hard_then_approved",
    "tok_not_attempted": "not_attempted",
    "tok_timeout_approved": "timeout_approved",
    "tok_timeout_declined": "timeout_declined",
    "tok_timeout_forever": "timeout_forever",
    "tok_3ds": "authentication",
    "tok_refund_fails": "refund_fails",
    "tok_refund_fails_late": "refund_fails_late",
    "tok_disputed": "disputed",
    "tok_inquiry": "inquiry",
    "tok_late_approved": "late_approved",
}

# Source: the numbers Stripe documents for testing, where it documents one for the case (2024-11).
CARD_SCENARIOS = {
    "4242424242424242": "approved",
    "4000000000000002": "declined_hard",
    "4000000000009995": "declined_soft",
    "4000002500003155": "authentication",
    "4000000000005126": "refund_fails",
    "4000000000000259": "disputed",
    "4000000000001976": "inquiry",
}

# Words in a payout destination's `name`, first match wins; so TIMEOUT DECLINE is not DECLINE.
NAME_SCENARIOS = (
    ("TIMEOUT FOREVER", "timeout_forever"),
    ("TIMEOUT DECLINE", "timeout_declined"),
    ("TIMEOUT", "timeout_approved"),
    ("RETURN TWICE", "returned_twice"),
    ("RETURN", "returned"),
    ("FAIL LATER", "failed_late"),
    ("SOFT", "soft_then_approved"),
    ("REFUSE", "not_attempted"),
    ("DECLINE", "account_closed"),
)

IBAN_SCENARIOS = {
    "DE75512108001245126199": "account_closed",
    "DE02120300000000202051": "timeout_approved",
    "DE02500105170137075030": "timeout_declined",
    "DE02100500000054540402": "timeout_forever",
    "DE02300209000106531065": "soft_then_approved",
    "DE02200505501015871393": "not_attempted",
    "DE02370502990000684712": "returned",
}

ADDRESS_ENDING_SCENARIOS = {"dead": "account_closed", "beef": "timeout_approved"}


def scenario_of_token(token: str) -> str:
    """Return the scenario of a token; every token not listed is approved."""
    if token.startswith("tok_random_"):
        return "random"
    return TOKEN_SCENARIOS.get(token, "approved")


def scenario_of_card(number: str) -> str:
    """Return the scenario of a card number; every number not listed is approved."""
    return CARD_SCENARIOS.get(number, "approved")


def scenario_of_destination(destination: Mapping[str, str]) -> str:
    """Return the scenario of a payout: by the beneficiary's name first, then by where it goes."""
    name = destination.get("name", "").upper()
    for words, scenario in NAME_SCENARIOS:
        if words in name:
            return scenario
    kind = destination.get("type")
    if kind == "card":
        return scenario_of_token(destination.get("token", ""))
    if kind == "iban":
        return IBAN_SCENARIOS.get(destination.get("iban", "").replace(" ", "").upper(), "approved")
    return ADDRESS_ENDING_SCENARIOS.get(destination.get("address", "")[-4:].lower(), "approved")


def attempt_number(rail_key: str) -> int:
    """Return n of `{operation}:{n}`; 1 where the key carries no number."""
    _, _, number = rail_key.rpartition(":")
    return int(number) if number.isdecimal() else 1


def conduct_of(scenario: str, *, rail: str, rail_key: str, approval_odds: float, authenticated: bool) -> Conduct:
    """Return what the rail does with an authorization or payout of this scenario."""
    if scenario == "authentication" and authenticated:
        return APPROVES
    if scenario == "random":
        return _random_conduct(rail, rail_key, approval_odds)
    first, later = SCENARIOS[scenario]
    return first if attempt_number(rail_key) == 1 else later


def _random_conduct(rail: str, rail_key: str, approval_odds: float) -> Conduct:
    """Draw by hash, so that the same order meets the same fate in every run."""
    digest = hashlib.sha256(f"{rail}/{rail_key}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < approval_odds:
        return APPROVES
    return DECLINES_SOFT if digest[8] % 10 < 7 else DECLINES_HARD
