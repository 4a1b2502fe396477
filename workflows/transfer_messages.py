"""What a transfer's workflow is started with and told: wire contracts, fields only ever added."""

from dataclasses import dataclass

from domain.ledger import KeyClaim
from domain.transfer import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTransfer:
    """What starts a transfer."""

    transfer: Transfer
    claim: KeyClaim
    actor: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostTransfer:
    """Move money of a hold: all that is left when `amount_minor` is None. `final` releases the rest."""

    amount_minor: int | None
    final: bool
    claim: KeyClaim
    actor: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidTransfer:
    """Give what is left of a hold back."""

    claim: KeyClaim
    actor: str = "api"
