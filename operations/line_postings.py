"""The commits of reconciliation: a file's versions, a line with its outcome, exceptions opened and closed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from domain.bank_facts import RailRemitted
from domain.drift_facts import RailAdjusted
from domain.facts import Fact
from domain.identifiers import Mode
from domain.ledger import AuditDraft, EventDraft, KeyClaim, Posting, Record, RecordKind
from domain.reconciliation import (
    DriftKind,
    FileFormat,
    FileOffer,
    FileStatus,
    LineKind,
    LineStatus,
    Statement,
    StatementLine,
    derived_id,
    line_id,
    line_key,
)
from domain.timestamps import rfc3339
from reconciliation.matching import BookSide, EarlierLine, Ruling

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """A stored file with its lines. `party`: the rail that settles, or the bank."""

    id: str
    merchant_id: str
    mode: Mode
    format: FileFormat
    party: str
    actor: str
    version: int
    document: Mapping[str, Any]
    statement: Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A line with what became of it. `prior`: the line it corrects or repeats. `exception_id`: opened elsewhere."""

    line: StatementLine
    ruling: Ruling
    side: BookSide | None = None
    prior: EarlierLine | None = None
    day: date
    late: bool = False
    exception_id: str | None = None

    @property
    def subject(self) -> str | None:
        """What the line is about in the books."""
        if self.side is not None:
            return self.side.object_id
        return self.prior.subject if self.prior is not None else None


def missing_id(mode: Mode, rail: str, object_id: str) -> str:
    """Return the id of the exception about an object that a rail's file lacks."""
    return derived_id("exc", mode.value, rail, "missing", object_id)


def file_posting(offer: FileOffer, statement: Statement, claim: KeyClaim | None) -> Posting:
    """Return the commit of a file that came in. Idempotent on its content."""
    document: Document = {
        "id": offer.file_id,
        "object": "reconciliation_file",
        "status": FileStatus.PROCESSING.value,
        "format": offer.format.value,
        "rail": offer.party,
        "lines": len(statement.lines),
        "matched": 0,
        "exceptions": 0,
        "duplicates": 0,
        "missing": 0,
        "late": 0,
        "totals": [
            {
                "currency": one.currency,
                "lines": one.lines,
                "gross": one.gross_minor,
                "fee": one.fee_minor,
                "net": one.net_minor,
            }
            for one in statement.totals
        ],
        "covers_from": None,
        "covers_until": rfc3339(statement.covers_until),
        "content_sha256": offer.content_hash,
        "livemode": offer.mode is Mode.LIVE,
        "created_at": rfc3339(datetime.now(UTC)),
    }
    record = Record(
        kind=RecordKind.RECONCILIATION_FILE,
        id=offer.file_id,
        version=1,
        document=document,
        internal={"actor": offer.actor},
        create_only=True,
    )
    details = {"sha256": offer.content_hash, "rail": offer.party, "format": offer.format.value}
    return Posting(
        key=f"{offer.file_id}:1",
        merchant_id=offer.merchant_id,
        mode=offer.mode,
        audit=AuditDraft(
            actor=offer.actor, action="reconciliation_file.received", object_id=offer.file_id, details=details
        ),
        records=(record,),
        claim=claim,
    )


def file_version(file: OpenFile, changes: Mapping[str, Any]) -> Posting:
    """Return the commit of a file's next version."""
    document = {**file.document, **changes}
    version = file.version + 1
    return Posting(
        key=f"{file.id}:{version}",
        merchant_id=file.merchant_id,
        mode=file.mode,
        audit=AuditDraft(
            actor=file.actor, action=f"reconciliation_file.{document['status']}", object_id=file.id, details={}
        ),
        records=(Record(kind=RecordKind.RECONCILIATION_FILE, id=file.id, version=version, document=document),),
    )


def line_posting(file: OpenFile, outcome: Outcome, together: tuple[Posting, ...]) -> Posting:
    """Return the commit of a line's outcome with its money, and what is opened or closed `together` with it.

    Idempotent on the line. The first line with its reference claims it for ever.
    """
    line, status = outcome.line, outcome.ruling.status
    own_id = line_id(file.id, line.number)
    record = Record(
        kind=RecordKind.RECONCILIATION_LINE,
        id=own_id,
        version=1,
        document=line_document(file, outcome),
        internal={"content_hash": line.content_hash},
    )
    repeats = status is LineStatus.DUPLICATE or outcome.ruling.kind is DriftKind.LINE_CORRECTED
    claim = KeyClaim(
        key=line_key(file.format, file.party, line.reference),
        fingerprint=line.content_hash,
        route=f"/v1/reconciliation/files/{file.id}",
        request={},
        object_kind=RecordKind.RECONCILIATION_LINE.value,
        object_id=own_id,
    )
    return Posting(
        key=f"{own_id}:1",
        merchant_id=file.merchant_id,
        mode=file.mode,
        audit=AuditDraft(
            actor=file.actor,
            action=f"reconciliation_line.{status}",
            object_id=own_id,
            details={"file": file.id, "reference": line.reference},
        ),
        facts=_facts(file, outcome),
        records=(record, *(record for one in together for record in one.records)),
        events=tuple(event for one in together for event in one.events),
        claim=None if repeats else claim,
    )


def line_document(file: OpenFile, outcome: Outcome) -> Document:
    """Return a line as the API shows it. `batch_amount`: what it adds to what its batch is owed."""
    line, ruling = outcome.line, outcome.ruling
    counted = line.net_minor
    if outcome.prior is not None:
        corrects = ruling.status is LineStatus.MATCHED
        counted = line.net_minor - outcome.prior.net_minor if corrects else 0
    if line.kind is LineKind.ENTRY:
        counted = -counted
    return {
        "id": line_id(file.id, line.number),
        "object": "reconciliation_line",
        "status": ruling.status.value,
        "file": file.id,
        "number": line.number,
        **line.document(),
        "bank": file.party if line.kind is LineKind.ENTRY else None,
        "business_day": outcome.day.isoformat(),
        "late": outcome.late,
        "subject": outcome.subject,
        "expected": ruling.expected_minor,
        "actual": ruling.actual_minor,
        "difference": ruling.difference_minor,
        "batch_amount": counted,
        "exception": exception_of(file, outcome),
        "detail": ruling.detail or None,
        "livemode": file.mode is Mode.LIVE,
    }


def exception_of(file: OpenFile, outcome: Outcome) -> str | None:
    """Return the id of the exception about a line."""
    if outcome.exception_id is not None or outcome.ruling.status is not LineStatus.EXCEPTION:
        return outcome.exception_id
    if outcome.ruling.kind is DriftKind.LINE_CORRECTED:
        # However often the other content comes, it is one exception.
        scope = (file.merchant_id, file.mode.value, file.format.value, file.party)
        return derived_id("exc", *scope, outcome.line.reference, outcome.line.content_hash)
    return derived_id("exc", line_id(file.id, outcome.line.number))


def line_exception(file: OpenFile, outcome: Outcome) -> Posting:
    """Return the commit that opens a line's exception, for the merchant whose order it is about."""
    line, ruling = outcome.line, outcome.ruling
    assert ruling.kind is not None
    nobodys = line.kind is LineKind.ENTRY and ruling.kind is DriftKind.LINE_UNKNOWN
    document: Document = {
        "kind": ruling.kind.value,
        "subject": outcome.subject or line_id(file.id, line.number),
        "rail": None if nobodys else line.rail,
        "bank": file.party if line.kind is LineKind.ENTRY else None,
        "reference": line.reference,
        "line_kind": line.kind.value,
        "rail_fee": line.fee_minor,
        "settles_charge": line.kind is LineKind.CAPTURE
        and ruling.kind is DriftKind.LINE_DIFFERS
        and outcome.prior is None,
        "amount": abs(line.net_minor),
        "currency": line.currency,
        "expected": ruling.expected_minor,
        "actual": ruling.actual_minor,
        "difference": ruling.difference_minor,
        "line": line_id(file.id, line.number),
        "detail": f"{line.rail or file.party} {line.kind} {line.reference}: {ruling.detail}",
    }
    exception_id = exception_of(file, outcome)
    assert exception_id is not None
    merchant_id = outcome.side.merchant_id if outcome.side is not None else file.merchant_id
    return _opened(file, exception_id, merchant_id, document)


def missing_exception(file: OpenFile, row: Mapping[str, Any]) -> Posting:
    """Return the commit that opens an exception about what the books have of a rail and its file lacks."""
    document: Document = {
        "kind": DriftKind.LINE_MISSING.value,
        "subject": row["reference"],
        "rail": file.party,
        "reference": None,
        "amount": abs(row["owed"]),
        "currency": row["currency"],
        "expected": row["owed"],
        "actual": 0,
        "difference": -row["owed"],
        "detail": f"The books have {row['owed']} {row['currency']} of {row['reference']}, and no line has it.",
    }
    return _opened(file, missing_id(file.mode, file.party, row["reference"]), row["merchant_id"], document)


def found_after_all(file: OpenFile, line: StatementLine, row: Mapping[str, Any]) -> Posting:
    """Return the commit that closes the exception about a missing line: here it is."""
    version, exception_id = row["version"] + 1, row["id"]
    resolution = {
        "action": "accept",
        "note": f"The line came: {line.reference}.",
        "actor": file.actor,
        "amount": None,
        "account": None,
        "ledger_transaction": None,
        "resolved_at": rfc3339(datetime.now(UTC)),
    }
    document = {**row["document"], "status": "resolved", "resolution": resolution}
    record = Record(kind=RecordKind.EXCEPTION, id=exception_id, version=version, document=document)
    return _exception_posting(file, record, row["merchant_id"], "exception.resolved", {"line": line.reference})


def _opened(file: OpenFile, exception_id: str, merchant_id: str, document: Document) -> Posting:
    opened = {
        "id": exception_id,
        "object": "exception",
        "status": "open",
        **document,
        "file": file.id,
        "since": rfc3339(datetime.now(UTC)),
    }
    record = Record(kind=RecordKind.EXCEPTION, id=exception_id, version=1, document=opened)
    return _exception_posting(file, record, merchant_id, "exception.opened", {"subject": document["subject"]})


def _exception_posting(
    file: OpenFile, record: Record, merchant_id: str, event: str, details: Mapping[str, Any]
) -> Posting:
    return Posting(
        key=f"{record.id}:{record.version}",
        merchant_id=merchant_id,
        mode=file.mode,
        audit=AuditDraft(actor=file.actor, action=event, object_id=record.id, details={**details, "file": file.id}),
        records=(record,),
        events=(EventDraft(type=event, object_id=record.id, version=record.version),),
    )


def _facts(file: OpenFile, outcome: Outcome) -> tuple[Fact, ...]:
    """Return what the line says about money. A bank's word about its own account is taken whatever follows from it."""
    line, ruling = outcome.line, outcome.ruling
    own_id = line_id(file.id, line.number)
    facts: list[Fact] = []
    unheard = (DriftKind.LINE_CORRECTED, DriftKind.LINE_UNKNOWN)
    taken = ruling.status is not LineStatus.DUPLICATE and ruling.kind not in unheard
    if line.kind is LineKind.ENTRY and line.net_minor and taken:
        facts.append(
            RailRemitted(
                remittance_id=own_id,
                rail=line.rail,
                bank=file.party,
                amount_minor=line.net_minor,
                currency=line.currency,
            )
        )
    if ruling.adjust_minor:
        # Of two corrections of the same line only one may count from where that left off.
        drift_id = f"{outcome.prior.id}.corrected" if outcome.prior is not None else own_id
        facts.append(
            RailAdjusted(drift_id=drift_id, rail=line.rail, amount_minor=ruling.adjust_minor, currency=line.currency)
        )
    return tuple(facts)


def contradicted(outcome: Outcome, exception_id: str, detail: str) -> Outcome:
    """Return the outcome of a line that its charge's settlement run contradicted and opened an exception about."""
    ruling = replace(
        outcome.ruling,
        status=LineStatus.EXCEPTION,
        kind=DriftKind.LINE_CONTRADICTS,
        detail=detail,
        adjust_minor=0,
        effect=type(outcome.ruling.effect).NONE,
    )
    return replace(outcome, ruling=ruling, exception_id=exception_id)
