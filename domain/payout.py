"""A payout: money of an account on its way to a bank account, a card or a chain address."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode
from domain.inquiry import Inquiries, unknown_document
from domain.money import check_amount
from domain.rail import RouteOption
from domain.timestamps import rfc3339


class PayoutStatus(StrEnum):
    """Where a payout stands. RETURNED: it had been paid and came back."""

    PROCESSING = "processing"
    PAID = "paid"
    FAILED = "failed"
    RETURNED = "returned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """The whole state of a payout. `source` is the public id of the account debited.

    `held_by`: why it does not go on although nobody said no (`payouts_stopped`)."""

    id: str
    merchant_id: str
    mode: Mode
    amount_minor: int
    currency: str
    source: str
    destination: Mapping[str, str]
    workflow_id: str
    created_at: datetime
    requested_rail: str = "auto"
    metadata: Mapping[str, str] = field(default_factory=dict)
    status: PayoutStatus = PayoutStatus.PROCESSING
    version: int = 0
    rail: str | None = None
    route: tuple[RouteOption, ...] = ()
    attempts: int = 0
    failure_code: str | None = None
    failure_detail: str | None = None
    next_check_at: datetime | None = None
    held_by: str | None = None
    inquiries: Inquiries = ()

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)


def payout_document(payout: Payout) -> dict[str, Any]:
    """Return the payout as the API and its events show it."""
    document: dict[str, Any] = {
        "id": payout.id,
        "object": "payout",
        "status": payout.status.value,
        "amount": payout.amount_minor,
        "currency": payout.currency,
        "source": payout.source,
        "destination": dict(payout.destination),
        "rail": payout.rail,
        "metadata": dict(payout.metadata),
        "failure_code": payout.failure_code,
        "failure_detail": payout.failure_detail,
        "next_check_at": rfc3339(payout.next_check_at),
        "held_by": payout.held_by,
        "workflow_id": payout.workflow_id,
        "livemode": payout.mode is Mode.LIVE,
        "created_at": rfc3339(payout.created_at),
    }
    unknown = unknown_document(payout.inquiries)
    return document if unknown is None else {**document, "unknown": unknown}
