"""A dispute: a cardholder's complaint, from the bank's question to the money that was taken and its end.

An inquiry asks and moves nothing; a chargeback has taken the money, always posts, and may differ in
amount from the charge. Won: the money is back. Lost: it stays away.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from domain.identifiers import Mode
from domain.money import check_amount
from domain.timestamps import rfc3339


class DisputeKind(StrEnum):
    """What the bank did: asked, or took the money."""

    INQUIRY = "inquiry"
    CHARGEBACK = "chargeback"


class DisputeStatus(StrEnum):
    """Where a dispute stands; an inquiry's statuses begin with `warning` and count against no refund."""

    WARNING_NEEDS_RESPONSE = "warning_needs_response"
    WARNING_UNDER_REVIEW = "warning_under_review"
    WARNING_CLOSED = "warning_closed"
    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"


FINAL_STATUSES = frozenset({DisputeStatus.WARNING_CLOSED, DisputeStatus.WON, DisputeStatus.LOST})
AWAITING_EVIDENCE = frozenset({DisputeStatus.WARNING_NEEDS_RESPONSE, DisputeStatus.NEEDS_RESPONSE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """The whole state of a dispute. `amount_minor` may differ from the charge's.

    `fee_minor` is what a chargeback costs the merchant; `fee_returned_when_won` was decided when the
    dispute arrived. `evidence_due_by`: until then evidence is taken; None for disputes opened before
    evidence was. `past_due`: that instant went by without any.
    """

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
    kind: DisputeKind = DisputeKind.CHARGEBACK
    original_rail_key: str = ""
    scheme: str | None = None
    fee_returned_when_won: bool = False
    evidence_due_by: datetime | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    submitted_at: datetime | None = None
    past_due: bool = False
    closed_reason: str | None = None
    next_check_at: datetime | None = None

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
        assert self.fee_minor >= 0
        assert self.status.startswith("warning") == (self.kind is DisputeKind.INQUIRY)


def first_status(kind: DisputeKind) -> DisputeStatus:
    """Return the status a dispute of this kind begins with."""
    return DisputeStatus.WARNING_NEEDS_RESPONSE if kind is DisputeKind.INQUIRY else DisputeStatus.NEEDS_RESPONSE


def evidence_due_by(scheme: str | None, kind: DisputeKind, since: datetime) -> datetime:
    """Return until when evidence is taken: the scheme's days less what the acquirer needs to pass it on.

    A Visa chargeback of 1 March: 30 days less 3, so 28 March, same time of day.
    Source: `dispute_deadlines.json`.
    """
    days = _DEADLINES["days"].get(scheme or "*") or _DEADLINES["days"]["*"]
    return since + timedelta(days=days[kind.value] - _DEADLINES["processing_days"])


def dispute_document(dispute: Dispute) -> dict[str, Any]:
    """Return the dispute as the API and its events show it."""
    return {
        "id": dispute.id,
        "object": "dispute",
        "status": dispute.status.value,
        "kind": dispute.kind.value,
        "charge": dispute.charge,
        "amount": dispute.amount_minor,
        "fee": dispute.fee_minor if dispute.kind is DisputeKind.CHARGEBACK else 0,
        "currency": dispute.currency,
        "account": dispute.account,
        "rail": dispute.rail,
        "scheme": dispute.scheme,
        "reason": dispute.reason,
        "evidence": dict(dispute.evidence),
        "evidence_details": {
            "due_by": rfc3339(dispute.evidence_due_by),
            "submitted_at": rfc3339(dispute.submitted_at),
            "past_due": dispute.past_due,
        },
        "fee_returned": dispute.fee_minor if dispute.status == "won" and dispute.fee_returned_when_won else 0,
        "closed_reason": dispute.closed_reason,
        "next_check_at": rfc3339(dispute.next_check_at),
        "workflow_id": dispute.workflow_id,
        "livemode": dispute.mode is Mode.LIVE,
        "created_at": rfc3339(dispute.created_at),
    }


_DEADLINES: dict[str, Any] = json.loads((Path(__file__).parent / "dispute_deadlines.json").read_text())
