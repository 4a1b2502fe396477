"""What a rail tells by itself, after or without being asked: outcomes, chargebacks, money that came back.

One vocabulary for signed callbacks, collected files and watched chains. Decides nothing about what follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.rail import RailAnswer


class InboundKind(StrEnum):
    """What a notice is about.

    OUTCOME: how an order went, or only that there is news of it. INQUIRY: a cardholder's bank asks; CHARGEBACK:
    it took money back; DISPUTE_…: what came of either, under the same reference. REFUND_FAILED, PAYOUT_FAILED,
    PAYOUT_RETURNED: money the rail had answered for came back; PAYOUT_PAID: it says yes once more.
    CHARGE_SETTLED: the money of all that was captured is final, less `fee_minor`.
    """

    OUTCOME = "outcome"
    INQUIRY = "inquiry"
    CHARGEBACK = "chargeback"
    DISPUTE_ESCALATED = "dispute.escalated"
    DISPUTE_CLOSED = "dispute.closed"
    DISPUTE_WON = "dispute.won"
    DISPUTE_LOST = "dispute.lost"
    CHARGE_SETTLED = "charge.settled"
    REFUND_FAILED = "refund.failed"
    PAYOUT_PAID = "payout.paid"
    PAYOUT_FAILED = "payout.failed"
    PAYOUT_RETURNED = "payout.returned"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundNotice:
    """One thing a rail told. `event_id` is the rail's own and makes a repeated notice the same one.

    The order is named by `rail_key`, or by `rail_reference` (the rail's own name of it) where the rail doesn't
    repeat the key. `answer` is what the notice itself proves of an OUTCOME; None or a PENDING one only means
    that the rail is worth asking now. `reference` names the chargeback or return at the rail. `amount_minor`
    and `currency` are the notice's own (a chargeback may differ from its charge); None: all of the order.
    `effect_key`: the rail's key of what it did, another than `rail_key` where it did the order twice.
    `evidence_due_by`: the rail's own deadline for a dispute, where it states one. `fee_minor`: what it keeps of a
    settlement. Never holds card data.
    """

    rail: str
    event_id: str
    kind: InboundKind
    rail_key: str | None = None
    rail_reference: str | None = None
    answer: RailAnswer | None = None
    reference: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    reason: str | None = None
    effect_key: str | None = None
    evidence_due_by: datetime | None = None
    fee_minor: int | None = None

    def __post_init__(self) -> None:
        assert self.event_id and self.rail
        assert self.rail_key or self.rail_reference, "a notice is about an order"
        disputes = self.kind in (InboundKind.INQUIRY, InboundKind.CHARGEBACK) or self.kind.startswith("dispute.")
        assert not disputes or (self.reference and self.amount_minor and self.currency)


class InboundStatus(StrEnum):
    """How far a notice has come.

    RECEIVED: safe, and brought to its order until the books agree with it. UNMATCHED: no order of ours is known
    by its key or reference, yet. HANDLED: the books agree. KEPT: they don't, and nothing automatic may change
    that: a person must look.
    """

    RECEIVED = "received"
    UNMATCHED = "unmatched"
    HANDLED = "handled"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What came in at a rail's callback address. Header names are lower-case; `received_at` is Unix seconds."""

    headers: Mapping[str, str]
    body: bytes
    received_at: float


class CallbackRefusedError(Exception):
    """Not signed by the rail, or too long ago: nobody may act on it. Not retryable as it stands."""


class CallbackUnreadableError(Exception):
    """Signed by the rail and yet no notice we can read. Retryable once we can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundReceipt:
    """What became of one notice: `new` is False when it had come before."""

    event_id: str
    status: InboundStatus
    new: bool
    object_id: str | None = None
    detail: str | None = None


def receipt_document(receipt: InboundReceipt) -> dict[str, Any]:
    """Return the receipt as the rail is answered with it."""
    return {
        "event": receipt.event_id,
        "status": receipt.status.value,
        "duplicate": not receipt.new,
        "object": receipt.object_id,
    }
