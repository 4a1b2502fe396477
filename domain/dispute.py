"""A dispute: the cardholder's bank takes the money back. A chargeback always posts."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode
from domain.money import check_amount
from domain.timestamps import rfc3339


class DisputeStatus(StrEnum):
    """Where a dispute stands; evidence and outcome are a later chapter."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """The whole state of a dispute. `amount_minor` may differ from the charge's."""

    id: str
    merchant_id: str
    mode: Mode
    charge: str
    rail: str
    rail_reference: str
    amount_minor: int
    fee_minor: int
    currency: str
    account: str
    workflow_id: str
    created_at: datetime
    reason: str | None = None
    status: DisputeStatus = DisputeStatus.NEEDS_RESPONSE
    version: int = 0

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
        assert self.fee_minor >= 0


def dispute_document(dispute: Dispute) -> dict[str, Any]:
    """Return the dispute as the API and its events show it."""
    return {
        "id": dispute.id,
        "object": "dispute",
        "status": dispute.status.value,
        "charge": dispute.charge,
        "amount": dispute.amount_minor,
        "fee": dispute.fee_minor,
        "currency": dispute.currency,
        "account": dispute.account,
        "rail": dispute.rail,
        "reason": dispute.reason,
        "workflow_id": dispute.workflow_id,
        "livemode": dispute.mode is Mode.LIVE,
        "created_at": rfc3339(dispute.created_at),
    }
