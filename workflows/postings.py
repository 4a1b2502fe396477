"""What each step commits: pure builders of postings from an object's next state.

The posting's key is `{object}:{version}`, so a step that runs twice commits once.
"""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from domain.charge import Charge, charge_document
from domain.dispute import Dispute, dispute_document
from domain.facts import Fact
from domain.fx import FxQuote, QuoteStatus, quote_document
from domain.identifiers import Mode
from domain.ledger import AuditDraft, EventDraft, KeyClaim, Posting, Record, RecordKind, RefundGuard
from domain.orphan import Orphan, orphan_document
from domain.payout import Payout, payout_document
from domain.rail import Attempt, Outcome
from domain.refund import Refund, refund_document
from domain.timestamps import rfc3339
from domain.transfer import Transfer, TransferStatus, transfer_document

Steps = tuple[Attempt, ...]


def attempt_record(attempt: Attempt) -> Record:
    """Return the attempt's row: version 1 is the write-ahead, 2 an open answer, 3 the definite one."""
    version = {Outcome.SENT: 1, Outcome.UNKNOWN: 2, Outcome.PENDING: 2}.get(attempt.outcome, 3)
    document: dict[str, Any] = asdict(attempt)
    for fact in ("segment", "cost_minor", "inquiries", "retry_after_seconds"):
        if document[fact] is None or document[fact] == ():
            del document[fact]
    document["status"] = attempt.outcome.value
    document["requested_at"] = rfc3339(attempt.requested_at)
    return Record(kind=RecordKind.ATTEMPT, id=attempt.rail_key, version=version, document=document)


def charge_posting(
    charge: Charge,
    *,
    event: str | None = None,
    facts: tuple[Fact, ...] = (),
    attempts: Steps = (),
    claim: KeyClaim | None = None,
    actor: str = "workflow",
    extra: tuple[Record, ...] = (),
    internal: dict[str, Any] | None = None,
) -> Posting:
    """Return the commit of a charge's new version with the attempts and facts it stems from."""
    record = Record(
        kind=RecordKind.CHARGE,
        id=charge.id,
        version=charge.version,
        document=charge_document(charge),
        internal=internal or {},
    )
    return Posting(
        key=f"{charge.id}:{charge.version}",
        merchant_id=charge.merchant_id,
        mode=charge.mode,
        audit=_audit(actor, event or f"charge.{charge.status}", charge.id, charge.version),
        facts=facts,
        records=(record, *map(attempt_record, attempts), *extra),
        events=(EventDraft(type=event, object_id=charge.id, version=charge.version),) if event else (),
        claim=claim,
    )


def refund_posting(
    refund: Refund,
    *,
    event: str | None = None,
    facts: tuple[Fact, ...] = (),
    attempts: Steps = (),
    claim: KeyClaim | None = None,
    guard: RefundGuard | None = None,
    actor: str = "workflow",
    extra: tuple[Record, ...] = (),
) -> Posting:
    """Return the commit of a refund's new version."""
    record = Record(
        kind=RecordKind.REFUND,
        id=refund.id,
        version=refund.version,
        document=refund_document(refund),
        internal={"original_rail_key": refund.original_rail_key},
    )
    return Posting(
        key=f"{refund.id}:{refund.version}",
        merchant_id=refund.merchant_id,
        mode=refund.mode,
        audit=_audit(actor, event or f"refund.{refund.status}", refund.id, refund.version),
        facts=facts,
        records=(record, *map(attempt_record, attempts), *extra),
        events=(EventDraft(type=event, object_id=refund.id, version=refund.version),) if event else (),
        claim=claim,
        refund_guard=guard,
    )


def payout_posting(
    payout: Payout,
    *,
    event: str | None = None,
    facts: tuple[Fact, ...] = (),
    attempts: Steps = (),
    claim: KeyClaim | None = None,
    actor: str = "workflow",
    extra: tuple[Record, ...] = (),
) -> Posting:
    """Return the commit of a payout's new version."""
    record = Record(
        kind=RecordKind.PAYOUT,
        id=payout.id,
        version=payout.version,
        document=payout_document(payout),
        internal={"route": [asdict(option) for option in payout.route]},
    )
    return Posting(
        key=f"{payout.id}:{payout.version}",
        merchant_id=payout.merchant_id,
        mode=payout.mode,
        audit=_audit(actor, event or f"payout.{payout.status}", payout.id, payout.version),
        facts=facts,
        records=(record, *map(attempt_record, attempts), *extra),
        events=(EventDraft(type=event, object_id=payout.id, version=payout.version),) if event else (),
        claim=claim,
    )


def transfer_posting(
    transfer: Transfer, *, event: str, facts: tuple[Fact, ...], claim: KeyClaim | None, actor: str
) -> Posting:
    """Return the commit of a transfer's new version: movements, object, event, audit and key together.

    What settles at a quote uses the quote up in the same commit.
    """
    record = Record(
        kind=RecordKind.TRANSFER, id=transfer.id, version=transfer.version, document=transfer_document(transfer)
    )
    quote = transfer.fx_quote if transfer.status is TransferStatus.SETTLED else None
    used = (used_quote_record(quote, transfer.id),) if quote is not None else ()
    return Posting(
        key=f"{transfer.id}:{transfer.version}",
        merchant_id=transfer.merchant_id,
        mode=transfer.mode,
        audit=_audit(actor, event, transfer.id, transfer.version),
        facts=facts,
        records=(record, *used),
        events=(
            EventDraft(type=event, object_id=transfer.id, version=transfer.version),
            *(EventDraft(type="fx_quote.used", object_id=one.id, version=one.version) for one in used),
        ),
        claim=claim,
    )


def used_quote_record(quote: FxQuote, transfer_id: str) -> Record:
    """Return the last version of a quote. That it is written once is the movement keys' doing (`{quote}:sell`)."""
    used = replace(quote, status=QuoteStatus.USED, version=quote.version + 1, transfer=transfer_id)
    return Record(kind=RecordKind.FX_QUOTE, id=used.id, version=used.version, document=quote_document(used))


def dispute_posting(
    dispute: Dispute,
    *,
    event: str | None,
    facts: tuple[Fact, ...] = (),
    attempts: Steps = (),
    claim: KeyClaim | None = None,
    actor: str | None = None,
    extra: tuple[Record, ...] = (),
) -> Posting:
    """Return the commit of a dispute's new version; by the rail itself unless an actor is named."""
    record = Record(
        kind=RecordKind.DISPUTE,
        id=dispute.id,
        version=dispute.version,
        document=dispute_document(dispute),
        internal={"rail_reference": dispute.rail_reference},
    )
    action = event or f"dispute.{dispute.status}"
    return Posting(
        key=f"{dispute.id}:{dispute.version}",
        merchant_id=dispute.merchant_id,
        mode=dispute.mode,
        audit=_audit(actor or f"rail:{dispute.rail}", action, dispute.id, dispute.version),
        facts=facts,
        records=(record, *map(attempt_record, attempts), *extra),
        events=(EventDraft(type=event, object_id=dispute.id, version=dispute.version),) if event else (),
        claim=claim,
    )


def suspense_exception(dispute: Dispute, event: str | None, since: datetime) -> Record:
    """Return the exception for money of a dispute whose account is closed: a person finds its owner."""
    exception_id = f"exc_{dispute.id}_{(event or 'money').replace('.', '_')}"
    fee_moved = event != "dispute.won" or dispute.fee_returned_when_won
    document: dict[str, Any] = {
        "id": exception_id,
        "object": "exception",
        "kind": "money_in_suspense",
        "status": "open",
        "subject": dispute.id,
        "rail": dispute.rail,
        "amount": dispute.amount_minor,
        "amount_in_suspense": dispute.amount_minor + (dispute.fee_minor if fee_moved else 0),
        "currency": dispute.currency,
        "detail": f"{event}: the account is closed, so the money is in suspense.",
        "since": rfc3339(since),
    }
    return Record(kind=RecordKind.EXCEPTION, id=exception_id, version=1, document=document)


def stored_posting(
    record: Record,
    *,
    merchant_id: str,
    mode: Mode,
    actor: str,
    event: str | None,
    facts: tuple[Fact, ...] = (),
    extra: tuple[Record, ...] = (),
    details: dict[str, Any] | None = None,
    claim: KeyClaim | None = None,
) -> Posting:
    """Return the commit of the next version of an object that was read back from the books."""
    return Posting(
        key=f"{record.id}:{record.version}",
        merchant_id=merchant_id,
        mode=mode,
        audit=AuditDraft(
            actor=actor,
            action=event or f"{record.kind}.updated",
            object_id=record.id,
            details={"version": record.version, **(details or {})},
        ),
        facts=facts,
        records=(record, *extra),
        events=(EventDraft(type=event, object_id=record.id, version=record.version),) if event else (),
        claim=claim,
    )


def unknown_outcome_exception(object_id: str, *, rail: str, rail_key: str, since: str | None, status: str) -> Record:
    """Return the exception a person must look at when a rail never tells (semantics rule 8).

    `status` is `open` (version 1) or `resolved` (version 2); the id derives from the rail key.
    """
    return Record(
        kind=RecordKind.EXCEPTION,
        id=f"exc_{rail_key.replace(':', '_').replace('.', '_')}",
        version=1 if status == "open" else 2,
        document={
            "id": f"exc_{rail_key.replace(':', '_').replace('.', '_')}",
            "object": "exception",
            "kind": "unknown_outcome",
            "status": status,
            "subject": object_id,
            "rail": rail,
            "rail_key": rail_key,
            "detail": f"{rail} has not said what became of {rail_key}; no scheduled inquiry brought an outcome.",
            "since": since,
        },
    )


def orphan_posting(
    orphan: Orphan,
    *,
    event: str | None = None,
    facts: tuple[Fact, ...] = (),
    attempts: Steps = (),
    claim: KeyClaim | None = None,
    actor: str = "workflow",
) -> Posting:
    """Return the commit of an orphan's new version, held as an exception."""
    record = Record(kind=RecordKind.EXCEPTION, id=orphan.id, version=orphan.version, document=orphan_document(orphan))
    return Posting(
        key=f"{orphan.id}:{orphan.version}",
        merchant_id=orphan.merchant_id,
        mode=orphan.mode,
        audit=_audit(actor, event or f"orphan.{orphan.status}", orphan.id, orphan.version),
        facts=facts,
        records=(record, *map(attempt_record, attempts)),
        events=(EventDraft(type=event, object_id=orphan.id, version=orphan.version),) if event else (),
        claim=claim,
    )


def _audit(actor: str, action: str, object_id: str, version: int) -> AuditDraft:
    return AuditDraft(actor=actor, action=action, object_id=object_id, details={"version": version})
