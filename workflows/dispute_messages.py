"""What a dispute's workflow is started with and told: wire contracts, fields only ever added."""

from dataclasses import dataclass
from enum import StrEnum

from domain.dispute import Dispute
from domain.ledger import KeyClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDispute:
    """What starts a dispute: a rail's signed notice, matched to a charge."""

    dispute: Dispute


class DisputeNews(StrEnum):
    """What a rail tells about a dispute that is there."""

    ESCALATED = "escalated"
    CLOSED = "closed"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeTold:
    """A rail's notice. `amount_minor` is what an escalated inquiry took, which may differ from what it asked about."""

    news: DisputeNews
    amount_minor: int
    currency: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitEvidence:
    """The merchant's side of it: kept as a draft, or with `submit` sent to the rail, once."""

    evidence: dict[str, str]
    submit: bool
    claim: KeyClaim
    actor: str = "api"
