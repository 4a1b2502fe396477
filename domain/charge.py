"""A charge: its states, what it remembers, and how the API shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode
from domain.inquiry import Inquiries, unknown_document
from domain.money import check_amount
from domain.rail import Attempt, DeclineClass, Outcome, RouteOption
from domain.risk import RiskAssessment
from domain.timestamps import rfc3339


class ChargeStatus(StrEnum):
    """Where a charge stands. `unknown`: a rail may have done it; it is being asked."""

    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    SETTLED = "settled"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    VOIDED = "voided"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargePayout:
    """What a charge pays out once it is settled: `amount_minor`, or its net when None, to `destination`."""

    id: str
    destination: Mapping[str, str]
    rail: str = "auto"
    amount_minor: int | None = None

    def __post_init__(self) -> None:
        assert self.amount_minor is None or self.amount_minor > 0


FINAL_STATUSES = frozenset({ChargeStatus.SETTLED, ChargeStatus.DECLINED, ChargeStatus.VOIDED, ChargeStatus.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The whole state of a charge; only its own workflow makes a new version.

    Amounts are minor units of `currency`. `account` is the public id credited. `version` rises by
    one with every commit, so re-running a commit changes nothing.
    """

    id: str
    merchant_id: str
    mode: Mode
    amount_minor: int
    currency: str
    source: str
    account: str
    workflow_id: str
    created_at: datetime
    requested_rail: str = "auto"
    capture: bool = True
    status: ChargeStatus = ChargeStatus.PROCESSING
    version: int = 0
    amount_captured_minor: int = 0
    fee_minor: int = 0
    rail: str | None = None
    customer: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    return_url: str | None = None
    segment: Mapping[str, str] | None = None
    risk: RiskAssessment | None = None
    route: tuple[RouteOption, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    captures: int = 0
    card_fingerprint: str | None = None
    decline_code: str | None = None
    decline_class: DeclineClass | None = None
    next_action: Mapping[str, str] | None = None
    next_check_at: datetime | None = None
    capture_before: datetime | None = None
    inquiries: Inquiries = ()
    payout: ChargePayout | None = None
    authentication: Mapping[str, str] | None = None
    pricing: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
        assert 0 <= self.amount_captured_minor <= self.amount_minor
        assert 0 <= self.fee_minor <= max(self.amount_captured_minor, 0)

    def winning_attempt(self) -> Attempt:
        """Return the approved authorization every capture, void and refund refers to."""
        approved = [attempt for attempt in self.attempts if attempt.outcome is Outcome.APPROVED]
        assert len(approved) == 1, f"{self.id} has {len(approved)} approved attempts"
        return approved[0]


def charge_document(charge: Charge) -> dict[str, Any]:
    """Return the charge as the API and its events show it (names and types are the public contract).

    `amount_refunded` is filled in by readers from the refunds themselves.
    """
    document: dict[str, Any] = {
        "id": charge.id,
        "object": "charge",
        "status": charge.status.value,
        "amount": charge.amount_minor,
        "amount_captured": charge.amount_captured_minor,
        "amount_refunded": 0,
        "currency": charge.currency,
        "fee": charge.fee_minor,
        "net": charge.amount_captured_minor - charge.fee_minor,
        "rail": charge.rail,
        "account": charge.account,
        "source": charge.source,
        "capture": charge.capture,
        "customer": charge.customer,
        "description": charge.description,
        "metadata": dict(charge.metadata),
        "return_url": charge.return_url,
        "risk": _risk_document(charge.risk),
        "attempts": [_attempt_document(attempt) for attempt in charge.attempts],
        "route": [_route_document(option) for option in charge.route],
        "next_action": dict(charge.next_action) if charge.next_action else None,
        "pricing": dict(charge.pricing) if charge.pricing else None,
        "next_check_at": rfc3339(charge.next_check_at),
        "capture_before": rfc3339(charge.capture_before),
        "decline_code": charge.decline_code,
        "decline_class": charge.decline_class.value if charge.decline_class else None,
        "workflow_id": charge.workflow_id,
        "livemode": charge.mode is Mode.LIVE,
        "created_at": rfc3339(charge.created_at),
    }
    if charge.authentication is not None:
        # The proof itself (`cavv`) is the rail's; what is shown says of what kind it was.
        shown = {name: value for name, value in charge.authentication.items() if name != "cavv"}
        document["authentication"] = shown
    if charge.payout is not None:
        document["payout"] = _payout_document(charge.payout)
    unknown = unknown_document(charge.inquiries)
    return document if unknown is None else {**document, "unknown": unknown}


def _payout_document(payout: ChargePayout) -> dict[str, Any]:
    """`status` is filled in by readers from the payout itself, once there is one."""
    return {
        "id": payout.id,
        "status": "waiting",
        "amount": payout.amount_minor,
        "rail": payout.rail,
        "destination": dict(payout.destination),
    }


def _risk_document(risk: RiskAssessment | None) -> dict[str, Any] | None:
    if risk is None:
        return None
    return {
        "score": risk.score,
        "decision": risk.decision.value,
        "model_version": risk.model_version,
        "reasons": list(risk.reasons),
    }


def _attempt_document(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "rail": attempt.rail,
        "outcome": attempt.outcome.value,
        "decline_code": attempt.decline_code,
        "decline_class": attempt.decline_class.value if attempt.decline_class else None,
        "retry_after_seconds": attempt.retry_after_seconds,
        "latency_ms": attempt.latency_ms,
        "cost_estimate": attempt.cost_estimate_minor,
        "reason": attempt.reason,
    }


def _route_document(option: RouteOption) -> dict[str, Any]:
    return {
        "rail": option.rail,
        "utility": option.utility,
        "landed_cost": option.landed_cost_minor,
        "approval_probability": option.approval_probability,
        "settlement_seconds": option.settlement_seconds,
        "reason": option.reason,
    }
