"""What a rail tells us on its own about money it had already answered for: late failures and returns."""

from dataclasses import dataclass
from enum import StrEnum

from domain.identifiers import Mode
from domain.money import check_amount


class NoticeKind(StrEnum):
    """What a rail may tell. A refund fails, or a payout comes back, days after the rail had said yes.

    Of a dispute: what comes after its own workflow has ended.
    """

    REFUND_FAILED = "refund.failed"
    PAYOUT_PAID = "payout.paid"
    PAYOUT_FAILED = "payout.failed"
    PAYOUT_RETURNED = "payout.returned"
    DISPUTE_WON = "dispute.won"
    DISPUTE_LOST = "dispute.lost"
    DISPUTE_CLOSED = "dispute.closed"
    DISPUTE_ESCALATED = "dispute.escalated"


@dataclass(frozen=True, slots=True, kw_only=True)
class RailNotice:
    """One signed notice, matched to an object of ours. `reference` is the rail's own id of the occurrence."""

    kind: NoticeKind
    object_id: str
    merchant_id: str
    mode: Mode
    rail: str
    rail_key: str
    reference: str
    amount_minor: int
    currency: str
    reason: str | None = None

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
