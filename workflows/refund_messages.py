"""What a refund's workflow is started with and told: wire contracts, fields only ever added."""

from dataclasses import dataclass, field

from domain.ledger import KeyClaim
from domain.refund import Refund
from domain.refund_policy import OnLowBalance, RefundPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRefund:
    """What starts a refund. `policy`: the merchant's when it was asked for; before there were any, refuse."""

    refund: Refund
    claim: KeyClaim
    actor: str = "api"
    policy: RefundPolicy = field(default_factory=lambda: RefundPolicy(on_low_balance=OnLowBalance.REFUSE))


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRefund:
    """Give up a refund that still waits for funds."""

    claim: KeyClaim
    actor: str = "api"
