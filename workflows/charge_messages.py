"""What a charge's workflow is started with and told: wire contracts, fields only ever added."""

from dataclasses import dataclass

from domain.charge import Charge
from domain.ledger import KeyClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCharge:
    """What starts a charge. `challenge_url` is where the customer would authenticate."""

    charge: Charge
    claim: KeyClaim
    challenge_url: str = ""
    actor: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureCharge:
    """Take money of an authorization: all that is left when `amount_minor` is None."""

    amount_minor: int | None
    final: bool
    claim: KeyClaim
    actor: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidCharge:
    """Give an authorization back."""

    claim: KeyClaim
    actor: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticateCharge:
    """What came of the customer's step: `result` is `success` or `failure`."""

    result: str
    evidence: dict[str, str]
    claim: KeyClaim | None = None
    actor: str = "customer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveCharge:
    """A person's finding about an unknown outcome: `approved` or `declined`, and why."""

    outcome: str
    actor: str
    note: str
    claim: KeyClaim
