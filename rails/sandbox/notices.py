"""What a sandbox rail tells the merchant's side on its own: disputes and money that came back.

Decides what follows an operation of a scenario, and when. Whoever is told deduplicates on `reference`.
"""

import secrets
from dataclasses import asdict, dataclass
from typing import Any

from rails.sandbox.orders import Operation
from rails.sandbox.scenarios import CORRECTED_AFTER_SECONDS, DISPUTE_AFTER_SECONDS, NOTICE_AFTER_SECONDS

DISPUTE_SCENARIOS = {"disputed": "chargeback", "inquiry": "inquiry"}
REFUND_SCENARIOS = {"refund_fails_late": ("refund.failed", "account_closed")}
PAYOUT_SCENARIOS = {
    "returned": (("payout.returned", "account_closed"),),
    "returned_twice": (("payout.returned", "account_closed"), ("payout.returned", "unknown_beneficiary")),
    "failed_late": (("payout.failed", "beneficiary_bank_closed"),),
}


@dataclass(slots=True, kw_only=True)
class Dispute:
    """A cardholder's complaint, as the rail's own book has it.

    `kind`: an inquiry asks and takes nothing, a chargeback has taken the money. `status`: open,
    under_review, won, lost or closed. `delivered`: the merchant's side knows that it exists.
    """

    id: str
    rail: str
    rail_key: str
    reference: str
    amount: int
    currency: str
    reason: str
    due_at: float
    delivered: bool = False
    kind: str = "chargeback"
    status: str = "open"
    evidence: str | None = None

    def body(self) -> dict[str, Any]:
        """Return the notice that it exists."""
        return {
            "type": "dispute.created",
            "id": self.id,
            "kind": self.kind,
            "rail": self.rail,
            "rail_key": self.rail_key,
            "reference": self.reference,
            "amount": self.amount,
            "currency": self.currency,
            "reason": self.reason,
        }


@dataclass(slots=True, kw_only=True)
class Notice:
    """Anything else a rail tells: `type` says what, `reference` names the occurrence.

    `fee`: what the rail keeps of a settlement. `moves`: the rail moved this money; `credit` towards us,
    `debit` away from us, None for no money.
    `effect_key` and `outcome` are a correction's: what became of the order, and the rail's key of that effect.
    """

    id: str
    type: str
    rail: str
    rail_key: str
    reference: str
    amount: int
    currency: str
    reason: str
    due_at: float
    delivered: bool = False
    moves: str | None = None
    fee: int | None = None
    effect_key: str | None = None
    outcome: str | None = None

    def body(self) -> dict[str, Any]:
        """Return what is told."""
        told = asdict(self)
        for own in ("due_at", "delivered", "moves"):
            del told[own]
        return {name: value for name, value in told.items() if value is not None}


def dispute_of(operation: Operation, now: float) -> Dispute | None:
    """Return the dispute that follows the first money taken in a scenario that has one."""
    kind = DISPUTE_SCENARIOS.get(operation.scenario)
    takes_money = operation.kind == "capture" or operation.capture
    if kind is None or operation.ending != "approved" or not takes_money:
        return None
    return Dispute(
        id=f"rdp_{secrets.token_hex(8)}",
        rail=operation.rail,
        rail_key=operation.original or operation.rail_key,
        reference=operation.reference,
        amount=operation.amount,
        currency=operation.currency,
        reason="fraudulent",
        due_at=now + DISPUTE_AFTER_SECONDS,
        kind=kind,
    )


def correction_of(operation: Operation, *, effect: Operation, now: float) -> Notice:
    """Return the rail's late word that an order took effect, under the key of `effect`."""
    return Notice(
        id=f"rno_{secrets.token_hex(8)}",
        type="order.outcome",
        rail=operation.rail,
        rail_key=operation.rail_key,
        reference=effect.reference,
        amount=effect.amount,
        currency=effect.currency,
        reason="corrected",
        due_at=max(effect.decided_at, now + CORRECTED_AFTER_SECONDS),
        effect_key=effect.rail_key,
        outcome=effect.ending,
    )


def notices_after(operation: Operation) -> list[Notice]:
    """Return what the rail will say later about an operation it said yes to."""
    if operation.ending != "approved":
        return []
    told: tuple[tuple[str, str], ...] = ()
    if operation.kind == "refund" and operation.scenario in REFUND_SCENARIOS:
        told = (REFUND_SCENARIOS[operation.scenario],)
    elif operation.kind == "payout":
        told = PAYOUT_SCENARIOS.get(operation.scenario, ())
    return [
        Notice(
            id=f"rno_{secrets.token_hex(8)}",
            type=kind,
            rail=operation.rail,
            rail_key=operation.rail_key,
            reference=f"{operation.reference}_{number}",
            amount=operation.amount,
            currency=operation.currency,
            reason=reason,
            due_at=operation.decided_at + number * NOTICE_AFTER_SECONDS,
            moves="credit" if number == 1 else None,
        )
        for number, (kind, reason) in enumerate(told, 1)
    ]


def verdict_on(evidence: str) -> str | None:
    """Return what the test bank makes of evidence: `winning_evidence` wins, `losing_evidence` loses, else it thinks.

    Source: the words Stripe's test mode decides by (2024-11).
    """
    if "winning_evidence" in evidence:
        return "won"
    return "lost" if "losing_evidence" in evidence else None


def changes_of(dispute: Dispute, step: str, amount: int | None) -> dict[str, Any]:
    """Return what a step changes about a dispute: `escalate`, `won`, `lost` or `close`.

    Raises:
        ValueError: this dispute has no such step (any more).
    """
    inquiry, over = dispute.kind == "inquiry", dispute.status not in ("open", "under_review")
    if over or step not in ("escalate", "won", "lost", "close") or inquiry != (step in ("escalate", "close")):
        raise ValueError(f"a {dispute.kind} that is {dispute.status} has no step {step}")
    if step == "escalate":
        return {"kind": "chargeback", "status": "open", "amount": amount or dispute.amount}
    return {"status": {"won": "won", "lost": "lost", "close": "closed"}[step]}


def notice_of_step(dispute: Dispute, step: str, due_at: float) -> Notice:
    """Return the notice of a step that was taken; won and escalated move money."""
    kind = {"escalate": "escalated", "close": "closed"}.get(step, step)
    return Notice(
        id=f"rno_{secrets.token_hex(8)}",
        type=f"dispute.{kind}",
        rail=dispute.rail,
        rail_key=dispute.rail_key,
        reference=dispute.reference,
        amount=dispute.amount,
        currency=dispute.currency,
        reason=dispute.reason,
        due_at=due_at,
        moves={"escalate": "debit", "won": "credit"}.get(step),
    )


def settlement_of(operation: Operation, captured: int, fee: int, now: float) -> Notice:
    """Return the notice that all captured money of an authorization is final, less the rail's fee."""
    return Notice(
        id=f"rno_{secrets.token_hex(8)}",
        type="charge.settled",
        rail=operation.rail,
        rail_key=operation.rail_key,
        reference=f"{operation.reference}_settled",
        amount=captured,
        currency=operation.currency,
        reason="settlement",
        due_at=now,
        fee=min(fee, captured),
    )
