"""A difference found by safeguarding, from the reconciliation that found it to the one that did not, or a person.

A *scope* is what is compared day by day: the books of a currency, or one bank account. It has one open break at
most; the break stays the same one for as long as the difference has its sign. What is written here is pure; each
change commits as one posting whose key numbers the changes of its scope, so of two at a time one is refused.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.identifiers import Mode, encode_base32
from domain.ledger import AuditDraft, KeyClaim, Posting, Record, RecordKind
from domain.payout_stop import PLATFORM
from domain.safeguarding import Document, Finding, RootCause, stamp
from domain.timestamps import rfc3339

MACHINE = "safeguarding"
"""The actor of what no person did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What one reconciliation says about one scope; `bank` is None for the books against themselves.

    `late_line`: the statement compared has a line that makes up exactly for the difference open until then.
    """

    mode: Mode
    currency: str
    bank: str | None
    reconciliation: str
    at: datetime
    finding: Finding
    difference_minor: int
    proposed: RootCause | None = None
    statement: str | None = None
    late_line: bool = False

    @property
    def scope(self) -> str:
        """What is compared, the same every day."""
        side = "internal" if self.bank is None else f"external:{self.bank}"
        return f"{self.mode}:{self.currency}:{side}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A break as stored. `change` counts the changes of its scope, over all its breaks."""

    document: Document
    version: int
    change: int

    @property
    def open(self) -> bool:
        """Whether the difference stands."""
        return bool(self.document["status"] == "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakChange:
    """A break's next version. `verb` names the audit record: opened, carried, reopened, resolved, confirmed."""

    document: Document
    version: int
    change: int
    verb: str
    actor: str = MACHINE

    def posting(self, claim: KeyClaim | None = None) -> Posting:
        """Return the commit of the change with its audit record. Idempotent on (scope, change)."""
        document = self.document
        named = ("kind", "difference", "root_cause", "proposed_root_cause", "note", "last_found_by")
        return Posting(
            key=f"safeguarding_break:{document['scope']}:{self.change}",
            merchant_id=PLATFORM,
            mode=Mode(document["mode"]),
            audit=AuditDraft(
                actor=self.actor,
                action=f"safeguarding_break.{self.verb}",
                object_id=document["id"],
                details={"version": self.version, **{name: document[name] for name in named}},
            ),
            records=(
                Record(
                    kind=RecordKind.SAFEGUARDING_BREAK,
                    id=document["id"],
                    version=self.version,
                    document=document,
                    internal={"change": self.change},
                ),
            ),
            claim=claim,
        )


def next_change(last: Break | None, found: Compared) -> BreakChange | None:
    """Return what a comparison changes about its scope; None when nothing (more).

    `last` is the scope's latest break, open or not. Asked again with what it returned as `last`, until None: a
    difference that turned its sign ends one break and opens another. A comparison older than the latest one that
    was taken changes nothing, and without a statement nobody can tell, so nothing ends.
    """
    if found.finding is Finding.NO_STATEMENT or (last is not None and _is_old(last, found)):
        return None
    if last is None:
        return _opened(found, 1) if found.finding is not Finding.MATCHED else None
    same_kind = last.document["kind"] == found.finding.value
    if last.open:
        return _carried(last, found, "carried") if same_kind else _ended(last, found)
    believed = last.document["confirmed_by"] is None
    if found.finding is Finding.MATCHED:
        return _ended(last, found) if believed else None
    if same_kind and believed:
        # A person said it was over, and it is not: the same difference, with its age.
        return _carried(last, found, "reopened")
    return _opened(found, last.change + 1)


def resolved_by_person(last: Break, *, cause: RootCause, note: str, actor: str, at: datetime) -> BreakChange:
    """Return the end of an open break by a person's word, with the cause they found."""
    assert last.open, "a break is resolved once"
    document = {
        **last.document,
        "status": "resolved",
        "root_cause": cause.value,
        "root_cause_by": actor,
        "note": note,
        "resolved_at": rfc3339(at),
        "resolved_by": actor,
    }
    return BreakChange(
        document=document, version=last.version + 1, change=last.change + 1, verb="resolved", actor=actor
    )


def age_days(document: Document, now: datetime) -> int:
    """Return the whole days a break has stood, or stood until it was resolved. Opened 47 hours ago it is 1."""
    until = document["resolved_at"]
    end = now if until is None else datetime.fromisoformat(until)
    return max((end - datetime.fromisoformat(document["opened_at"])).days, 0)


def compared_from(reconciliation: Document) -> list[Compared]:
    """Return what a reconciliation's document says about each of its scopes."""
    shared: dict[str, Any] = {
        "mode": Mode(reconciliation["mode"]),
        "currency": reconciliation["currency"],
        "reconciliation": reconciliation["id"],
        "at": datetime.fromisoformat(reconciliation["at"]),
    }
    internal = Compared(
        bank=None,
        finding=Finding(reconciliation["internal"]),
        difference_minor=reconciliation["difference"],
        proposed=_cause(reconciliation["proposed_root_cause"]),
        **shared,
    )
    return [internal] + [
        Compared(
            bank=bank["bank"],
            finding=Finding(bank["status"]),
            difference_minor=bank["difference"] or 0,
            proposed=_cause(bank["proposed_root_cause"]),
            statement=bank["statement"],
            **shared,
        )
        for bank in reconciliation["bank_accounts"]
    ]


def _is_old(last: Break, found: Compared) -> bool:
    """Tell whether the comparison was taken already, or is of before what was last said about the scope."""
    believed = not last.open and last.document["confirmed_by"] is None
    if believed and found.at <= datetime.fromisoformat(last.document["resolved_at"]):
        return True
    compared_at = datetime.fromisoformat(last.document["compared_at"])
    if found.at != compared_at:
        return found.at < compared_at
    # Of the same instant only one thing is left to do: a difference of the other sign, after the end of this one.
    ended_by_it = not last.open and last.document["confirmed_by"] == found.reconciliation
    return not (ended_by_it and found.finding is not Finding.MATCHED)


def _opened(found: Compared, change: int) -> BreakChange:
    digest = int.from_bytes(hashlib.sha256(found.scope.encode()).digest()[:8], "big") >> 4
    at = rfc3339(found.at)
    document: Document = {
        "id": f"sfb_{stamp(found.at)}_{encode_base32(digest, 12)}",
        "object": "safeguarding_break",
        "status": "open",
        "kind": found.finding.value,
        "side": "internal" if found.bank is None else "external",
        "scope": found.scope,
        "mode": found.mode.value,
        "currency": found.currency,
        "bank": found.bank,
        "difference": found.difference_minor,
        "first_difference": found.difference_minor,
        "opened_at": at,
        "opened_by": found.reconciliation,
        "last_found_at": at,
        "last_found_by": found.reconciliation,
        "compared_at": at,
        "compared_by": found.reconciliation,
        "times_found": 1,
        "times_reopened": 0,
        "root_cause": RootCause.UNEXPLAINED.value,
        "root_cause_by": None,
        "proposed_root_cause": found.proposed,
        "note": None,
        "resolved_at": None,
        "resolved_by": None,
        "confirmed_by": None,
        "created_at": at,
    }
    return BreakChange(document=document, version=1, change=change, verb="opened")


def _carried(last: Break, found: Compared, verb: str) -> BreakChange:
    at = rfc3339(found.at)
    document = {
        **last.document,
        "status": "open",
        "difference": found.difference_minor,
        "last_found_at": at,
        "last_found_by": found.reconciliation,
        "compared_at": at,
        "compared_by": found.reconciliation,
        "times_found": last.document["times_found"] + 1,
        "times_reopened": last.document["times_reopened"] + (verb == "reopened"),
        "proposed_root_cause": found.proposed,
        "resolved_at": None,
        "resolved_by": None,
    }
    return BreakChange(document=document, version=last.version + 1, change=last.change + 1, verb=verb)


def _ended(last: Break, found: Compared) -> BreakChange:
    """The difference was not found any more: that ends the break, or bears out the person who had ended it."""
    at = rfc3339(found.at)
    document = {
        **last.document,
        "status": "resolved",
        "compared_at": at,
        "compared_by": found.reconciliation,
        "confirmed_by": found.reconciliation,
    }
    if last.open:
        document |= {"resolved_at": at, "resolved_by": found.reconciliation}
    if found.late_line:
        document["proposed_root_cause"] = RootCause.TIMING.value
    verb = "resolved" if last.open else "confirmed"
    return BreakChange(document=document, version=last.version + 1, change=last.change + 1, verb=verb)


def _cause(written: str | None) -> RootCause | None:
    return None if written is None else RootCause(written)
