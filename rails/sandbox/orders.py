"""An order to a sandbox rail as it is on the wire, checked before anything is done, and as it is written down."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

AMOUNT_MINOR_MAX = 10**15
REFERRING_KINDS = frozenset({"capture", "void", "refund"})


class MalformedOrderError(ValueError):
    """The order makes no sense; nothing was done. Not retryable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order. `card_number` lives as long as the call: it reaches neither repr, truth nor disk."""

    rail: str
    rail_key: str
    kind: str
    amount: int
    currency: str
    fingerprint: str
    source: str | None = None
    card_number: str | None = field(default=None, repr=False)
    destination: dict[str, str] = field(default_factory=dict)
    original: str | None = None
    capture: bool = False
    authenticated: bool = False
    dispute: str | None = None
    evidence: str | None = None


@dataclass(slots=True, kw_only=True)
class Operation:
    """One row of the truth. `at` and `decided_at` are seconds since the epoch.

    `ending` is what the order comes to; until `decided_at` the rail itself calls it pending.
    """

    rail: str
    rail_key: str
    kind: str
    amount: int
    currency: str
    ending: str
    at: float
    decided_at: float
    reference: str
    fingerprint: str
    scenario: str
    decline_code: str | None = None
    original: str | None = None
    source: str | None = None
    capture: bool = False
    answered: bool = True
    inquiry_tells: bool = True
    calls: int = 1
    says_first: str | None = None

    def outcome(self, now: float) -> str:
        """Return what the rail says: `approved`, `declined`, or `pending` while it is undecided.

        A rail that is wrong at first says `declined` until it corrects itself.
        """
        if now >= self.decided_at:
            return self.ending
        return "pending" if self.says_first is None else "declined"

    def code(self, now: float) -> str | None:
        """Return the decline code the rail gives, if it says `declined`."""
        if self.outcome(now) != "declined":
            return None
        return self.decline_code if now >= self.decided_at else self.says_first


def read_order(rail: str, kind: str, rail_key: str | None, body: bytes) -> Order:
    """Return the order a call carries.

    Raises:
        MalformedOrderError: not JSON, a missing key, amount or currency, or an unfit field.
    """
    if not rail_key or len(rail_key) > 300:
        raise MalformedOrderError("the Idempotency-Key header must hold 1 to 300 characters")
    wire = _read_object(body)
    amount, currency = wire.get("amount"), wire.get("currency")
    if type(amount) is not int or not 0 < amount <= AMOUNT_MINOR_MAX:
        raise MalformedOrderError("amount must be a positive integer in minor units")
    if not isinstance(currency, str) or not currency:
        raise MalformedOrderError("currency is missing")
    card, destination = wire.get("card"), wire.get("destination")
    number = str(card.get("number", "")) if isinstance(card, dict) else None
    source = f"card_{number[-4:]}" if number else wire.get("source")
    original = wire.get("original")
    if kind in REFERRING_KINDS and not isinstance(original, str):
        raise MalformedOrderError(f"a {kind} must name its original authorization")
    if kind == "authorize" and not isinstance(source, str):
        raise MalformedOrderError("an authorization needs a source or a card")
    if kind == "payout" and not isinstance(destination, dict):
        raise MalformedOrderError("a payout needs a destination")
    authentication, dispute, evidence = wire.get("authentication"), wire.get("dispute"), wire.get("evidence")
    if kind == "evidence" and not (isinstance(dispute, str) and isinstance(evidence, dict)):
        raise MalformedOrderError("evidence names its dispute and says something")
    return Order(
        rail=rail,
        rail_key=rail_key,
        kind=kind,
        amount=amount,
        currency=currency,
        fingerprint=_fingerprint(kind, wire, source),
        source=source,
        card_number=number,
        destination=destination if isinstance(destination, dict) else {},
        original=original,
        capture=wire.get("capture") is True,
        dispute=dispute if isinstance(dispute, str) else None,
        evidence=" ".join(map(str, evidence.values())) if isinstance(evidence, dict) else None,
        authenticated=isinstance(authentication, dict) and authentication.get("result") == "success",
    )


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        wire = json.loads(body)
    except ValueError as error:
        raise MalformedOrderError("the body is not JSON") from error
    if not isinstance(wire, dict):
        raise MalformedOrderError("the body is not a JSON object")
    return wire


def _fingerprint(kind: str, wire: dict[str, Any], source: str | None) -> str:
    """Hash everything that makes two orders the same one; a card counts by its last four digits.

    A hash over a whole card number could be searched for the number, so it never goes in.
    """
    facts = {name: value for name, value in wire.items() if name not in ("card", "source")}
    canonical = json.dumps([kind, source, facts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
