"""What a rail's notice changes about an object that had its final answer: pure, notice and document in, ruling out.

The rail moved the money, so our books follow it at once (semantics rules 18 and 29). What contradicts
something told before is never applied: it becomes an exception for a person.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from domain.facts import DisputeWon, Fact, PayoutReturned, RefundReversed
from domain.identifiers import encode_base32
from domain.ledger import Record, RecordKind
from domain.notice import NoticeKind, RailNotice
from domain.timestamps import rfc3339

Document = dict[str, Any]

OPEN_STATUSES = frozenset({"processing", "pending", "unknown"})
"""The object's own workflow still asks the rail; the notice is looked at again once that has ended."""


class Verdict(StrEnum):
    """What to do with a notice."""

    WAIT = "wait"
    KNOWN = "known"
    APPLY = "apply"
    CONTRADICTS = "contradicts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdict; with APPLY the object's next document, its event and fact, with CONTRADICTS why."""

    verdict: Verdict
    document: Document | None = None
    event: str | None = None
    fact: Fact | None = None
    why: str = ""


_KNOWN = Ruling(verdict=Verdict.KNOWN)


def rule_on(notice: RailNotice, document: Document, now: datetime) -> Ruling:
    """Return what the notice means for the object as it is stored."""
    if document.get("rail_notice") == _name(notice):
        return _KNOWN
    if document["object"] == "dispute":
        return _dispute_told(notice, document)
    if document["status"] in OPEN_STATUSES:
        return Ruling(verdict=Verdict.WAIT)
    if (document["amount"], document["currency"]) != (notice.amount_minor, notice.currency):
        return _contradicts(f"it is about {notice.amount_minor} {notice.currency}")
    if document["rail"] != notice.rail:
        return _contradicts(f"{document['rail']} had carried it out")
    if notice.kind is NoticeKind.REFUND_FAILED:
        return _refund_failed(notice, document, now)
    return _payout_told(notice, document, now)


def to_suspense(fact: Fact) -> Fact:
    """Return the same fact for an account that takes no money any more: a person decides whose it is."""
    assert isinstance(fact, PayoutReturned | RefundReversed | DisputeWon)
    return replace(fact, to_suspense=True)


def notice_exception(notice: RailNotice, kind: str, detail: str, since: datetime) -> Record:
    """Return the exception a notice opens; its id derives from the rail's reference, so it opens once."""
    name = f"{notice.merchant_id}/{notice.mode}/{notice.rail}/{notice.kind}/{notice.reference}"
    digits = encode_base32(int.from_bytes(sha256(name.encode()).digest()[:16], "big"), 26)
    exception_id = f"exc_{digits}"
    document: Document = {
        "id": exception_id,
        "object": "exception",
        "kind": kind,
        "status": "open",
        "subject": notice.object_id,
        "rail": notice.rail,
        "rail_key": notice.rail_key,
        "amount": notice.amount_minor,
        "currency": notice.currency,
        "notice": notice.kind.value,
        "reference": notice.reference,
        "detail": detail,
        "since": rfc3339(since),
    }
    return Record(kind=RecordKind.EXCEPTION, id=exception_id, version=1, document=document)


def _refund_failed(notice: RailNotice, document: Document, now: datetime) -> Ruling:
    if document["status"] == "failed":
        return _KNOWN
    fact = RefundReversed(
        refund_id=document["id"],
        account=document["account"],
        rail=notice.rail,
        amount_minor=notice.amount_minor,
        currency=notice.currency,
    )
    failed = {
        **document,
        "status": "failed",
        "failure_code": notice.reason or "refund_failed",
        "failure_detail": f"{notice.rail} had given the money back; it came back to us ({notice.reference}).",
        "failed_at": rfc3339(now),
        "rail_notice": _name(notice),
    }
    return Ruling(verdict=Verdict.APPLY, document=failed, event="refund.failed", fact=fact)


def _payout_told(notice: RailNotice, document: Document, now: datetime) -> Ruling:
    """Return what a payout's notice means. Money leaves once and comes back once, whatever is told after that."""
    status = document["status"]
    if notice.kind is NoticeKind.PAYOUT_PAID:
        return _KNOWN if status == "paid" else _contradicts(f"the payout is {status}")
    if notice.kind is NoticeKind.PAYOUT_FAILED and status == "failed":
        return _KNOWN
    if status != "paid":
        return _contradicts(f"the payout is {status}")
    fact = PayoutReturned(
        payout_id=document["id"],
        account=document["source"],
        rail=notice.rail,
        amount_minor=notice.amount_minor,
        currency=notice.currency,
    )
    returned = {
        **document,
        "status": "returned",
        "failure_code": notice.reason or "returned",
        "failure_detail": f"{notice.rail} had paid it; the money came back ({notice.reference}).",
        "returned_at": rfc3339(now),
        "rail_notice": _name(notice),
    }
    return Ruling(verdict=Verdict.APPLY, document=returned, event="payout.returned", fact=fact)


def _name(notice: RailNotice) -> str:
    return f"{notice.kind}:{notice.reference}"


def _dispute_told(notice: RailNotice, document: Document) -> Ruling:
    """Return what a word about a dispute means after its workflow has ended: won and lost are final."""
    status = document["status"]
    if status == notice.kind.partition(".")[2] or (notice.kind, status) in _SAME_END:
        return _KNOWN
    if notice.kind is NoticeKind.DISPUTE_ESCALATED and status in ("needs_response", "under_review"):
        return _KNOWN
    if notice.kind not in (NoticeKind.DISPUTE_WON, NoticeKind.DISPUTE_LOST) or status != "needs_response":
        return _contradicts(f"the dispute is {status}")
    # Opened before disputes had a life of their own: no run waits for the rail's word, so it is followed here.
    won = notice.kind is NoticeKind.DISPUTE_WON
    fact = DisputeWon(
        dispute_id=document["id"],
        account=document["account"],
        rail=document["rail"],
        amount_minor=document["amount"],
        fee_returned_minor=0,
        currency=document["currency"],
    )
    ended = {**document, "status": "won" if won else "lost", "closed_reason": f"rail_{notice.kind.partition('.')[2]}"}
    return Ruling(verdict=Verdict.APPLY, document=ended, event=notice.kind.value, fact=fact if won else None)


_SAME_END = {(NoticeKind.DISPUTE_LOST, "warning_closed"), (NoticeKind.DISPUTE_CLOSED, "warning_closed")}


def _contradicts(what: str) -> Ruling:
    return Ruling(verdict=Verdict.CONTRADICTS, why=what)
