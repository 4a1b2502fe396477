"""What all reports of one order amount to, in whatever order they came (semantics rules 7, 8 and 29).

Decides by the tables in `reason_codes.json`. The reading never depends on the order of arrival: banks send a
booking before the status it follows, a return before the booking, and the same message twice.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.rail import DeclineClass, Outcome
from rails.iso20022.reports import OrderReport, Word

NOT_ATTEMPTED = "not_attempted"
ARRIVED_BEFORE = "arrived_before"


def _read_tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads((Path(__file__).parent / "reason_codes.json").read_text("utf-8"))
    assert tables["source"] and tables["as_of"], "a table of codes names its source and date"
    return tables


_TABLES = _read_tables()
CREDIT_TRANSFER: Mapping[str, str] = _TABLES["statuses"]["credit_transfer"]
INSTANT: Mapping[str, str] = _TABLES["statuses"]["instant"]
"""Status code -> settled, pending, rejected or unclear, by scheme: ACCP confirms an instant transfer, and only
announces a credit transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What a reason code permits next, and the word for it that our API shows: AC04 is `closed_account_number`."""

    reading: str
    word: str


def reason_table(rows: Mapping[str, Mapping[str, str]]) -> dict[str, Reason]:
    """Return a table of codes with a `name` and a `reading` each; the word is the name in small letters."""
    return {code: Reason(reading=row["reading"], word=_word(row["name"])) for code, row in rows.items()}


def _word(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return "_".join(re.findall(r"[a-z0-9]+", spaced.lower()))


REASONS: Mapping[str, Reason] = reason_table(_TABLES["reasons"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """Money of an order that had left and came back."""

    reason: str | None
    amount_minor: int | None
    currency: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one order stands. `code` is a word of ours. `returned`: it was carried out, and came back."""

    outcome: Outcome
    code: str | None = None
    decline_class: DeclineClass | None = None
    returned: Returned | None = None
    detail: str | None = None


def about(reports: Iterable[OrderReport], reference: str, message_id: str | None = None) -> tuple[OrderReport, ...]:
    """Return the reports of this very order: its own, and refusals of the file it was in.

    `message_id`: of the file, where it is not the order's reference too.
    """
    file_id = message_id or reference
    return tuple(
        report
        for report in reports
        if (report.end_to_end_id == reference and report.message_id in (file_id, None))
        or (report.end_to_end_id is None and report.message_id == file_id)
    )


def standing(
    own: Iterable[OrderReport],
    statuses: Mapping[str, str],
    *,
    reasons: Mapping[str, Reason] = REASONS,
    amount_minor: int | None = None,
    currency: str | None = None,
) -> Standing | None:
    """Return where an order stands by the reports about it, None where there are none.

    A report of another amount, or an order both rejected and booked, is UNKNOWN: a person looks.
    """
    own = tuple(own)
    carried_out = [report for report in own if report.word is not Word.STATUS]
    readings = [_reading(report, statuses, reasons) for report in own if report.word is Word.STATUS]
    rejections = [reading for reading in readings if reading.outcome in (Outcome.DECLINED, Outcome.NOT_ATTEMPTED)]
    wrong = [
        report
        for report in own
        if report.word is not Word.RETURNED
        and None not in (amount_minor, report.amount_minor)
        and (report.amount_minor, report.currency) != (amount_minor, currency)
    ]
    settled = bool(carried_out) or any(reading.outcome is Outcome.APPROVED for reading in readings)
    if wrong:
        return Standing(outcome=Outcome.UNKNOWN, detail="reported with another amount than ordered")
    if settled and rejections:
        return Standing(outcome=Outcome.UNKNOWN, detail=f"both carried out and rejected ({rejections[0].code})")
    if settled:
        return Standing(outcome=Outcome.APPROVED, returned=_returned(carried_out, reasons))
    if rejections:
        return rejections[0]
    if any(reading.outcome is Outcome.PENDING for reading in readings):
        return Standing(outcome=Outcome.PENDING)
    return readings[0] if readings else None


def _reading(report: OrderReport, statuses: Mapping[str, str], reasons: Mapping[str, Reason]) -> Standing:
    meaning = statuses.get(report.status or "", "unclear")
    if meaning == "settled":
        return Standing(outcome=Outcome.APPROVED)
    if meaning == "pending":
        return Standing(outcome=Outcome.PENDING)
    if meaning != "rejected":
        return Standing(outcome=Outcome.UNKNOWN, detail=f"status {report.status} decides nothing")
    reason = reason_of(report.reason, reasons)
    detail = f"rejected: {report.reason or 'no reason given'}"
    if reason.reading == ARRIVED_BEFORE:
        # The duplicate was refused: the order itself is there, and its own report will say how it fares.
        return Standing(outcome=Outcome.PENDING, detail="the bank had it already")
    if reason.reading == NOT_ATTEMPTED:
        return Standing(outcome=Outcome.NOT_ATTEMPTED, code=reason.word, detail=detail)
    decline_class = DeclineClass(reason.reading)
    return Standing(outcome=Outcome.DECLINED, code=reason.word, decline_class=decline_class, detail=detail)


def reason_of(code: str | None, reasons: Mapping[str, Reason]) -> Reason:
    """Return what a code means; one that nobody has looked at permits nothing."""
    known = reasons.get(code or "")
    return known or Reason(reading=DeclineClass.HARD.value, word=_word(f"rejected {code or ''}"))


def _returned(carried_out: Iterable[OrderReport], reasons: Mapping[str, Reason]) -> Returned | None:
    """One return, however many messages tell of it and in which list of codes: always the same reason is told."""
    returns = [report for report in carried_out if report.word is Word.RETURNED]
    if not returns:
        return None
    first = max(returns, key=lambda report: report.reason or "")
    word = reason_of(first.reason, reasons).word if first.reason else None
    return Returned(reason=word, amount_minor=first.amount_minor, currency=first.currency)
