"""A refund: money of a captured charge on its way back to the card."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode
from domain.inquiry import Inquiries, unknown_document
from domain.money import check_amount
from domain.timestamps import rfc3339


class RefundStatus(StrEnum):
    """Where a refund stands. PENDING: the rail took it; UNKNOWN: the rail is being asked."""

    PROCESSING = "processing"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """The whole state of a refund. `original_rail_key` names the authorization at the rail.

    `pending_reason`: `awaiting_funds` while the merchant's account does not cover it, at most to `waits_until`.
    `fee_policy`: how much of the charge's fee goes back with it (`domain.pricing.RefundFee`).
    """

    id: str
    merchant_id: str
    mode: Mode
    charge: str
    amount_minor: int
    currency: str
    account: str
    rail: str
    original_rail_key: str
    workflow_id: str
    created_at: datetime
    reason: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    status: RefundStatus = RefundStatus.PROCESSING
    version: int = 0
    failure_code: str | None = None
    failure_detail: str | None = None
    next_check_at: datetime | None = None
    inquiries: Inquiries = ()
    fee_policy: str = "none"
    fee_returned_minor: int = 0
    pending_reason: str | None = None
    waits_until: datetime | None = None

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)


def refund_document(refund: Refund) -> dict[str, Any]:
    """Return the refund as the API and its events show it."""
    document: dict[str, Any] = {
        "id": refund.id,
        "object": "refund",
        "status": refund.status.value,
        "charge": refund.charge,
        "amount": refund.amount_minor,
        "currency": refund.currency,
        "account": refund.account,
        "rail": refund.rail,
        "reason": refund.reason,
        "metadata": dict(refund.metadata),
        "failure_code": refund.failure_code,
        "failure_detail": refund.failure_detail,
        "pending_reason": refund.pending_reason,
        "waits_until": rfc3339(refund.waits_until),
        "fee_policy": refund.fee_policy,
        "fee_returned": refund.fee_returned_minor,
        "next_check_at": rfc3339(refund.next_check_at),
        "workflow_id": refund.workflow_id,
        "livemode": refund.mode is Mode.LIVE,
        "created_at": rfc3339(refund.created_at),
    }
    unknown = unknown_document(refund.inquiries)
    return document if unknown is None else {**document, "unknown": unknown}
