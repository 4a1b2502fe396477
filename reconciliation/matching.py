"""What a line means beside the books: matched, or an exception with expected, actual and difference. Pure.

84.20 EUR were captured and the file says gross 84.20, fee 0.62, net 83.58: matched, 0.62 is the rail's cost. It says
84.21 and the tolerance is 1: matched, and 0.01 is posted as the rail's cost, negative. It says 84.22: exception,
expected 8420, actual 8422, difference 2. It says 84.18: exception, difference -2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode
from domain.money import AMOUNT_MINOR_MAX
from domain.reconciliation import DriftKind, LineKind, LineStatus, StatementLine

Document = Mapping[str, Any]


class Effect(StrEnum):
    """What follows from a match besides money: SETTLE the charge, or TELL the order's run that the rail did it."""

    NONE = "none"
    SETTLE = "settle"
    TELL = "tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSide:
    """What the books have of a line's order. `moved_at`: when its money moved, None where it has not."""

    kind: str
    object_id: str
    merchant_id: str
    mode: Mode
    document: Document
    rail_key: str
    moved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What becomes of a line. `adjust_minor`: what the rail owes us more than the books said (negative: less).

    `expected_minor`, `actual_minor`: what is compared, in the line's currency; their difference is the drift.
    """

    status: LineStatus
    kind: DriftKind | None = None
    detail: str = ""
    expected_minor: int = 0
    actual_minor: int = 0
    adjust_minor: int = 0
    effect: Effect = Effect.NONE

    def __post_init__(self) -> None:
        assert (self.kind is not None) == (self.status is LineStatus.EXCEPTION)
        assert self.status is LineStatus.MATCHED or not (self.adjust_minor or self.effect is not Effect.NONE)

    @property
    def difference_minor(self) -> int:
        """The drift: positive where the rail's side has more than the books."""
        return self.actual_minor - self.expected_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierLine:
    """A line that came before: what it said, what became of it, and what it was about."""

    id: str
    status: LineStatus
    content_hash: str
    kind: str
    gross_minor: int
    net_minor: int
    currency: str
    subject: str | None


_OBJECTS = {
    LineKind.CAPTURE: ("charge", "orphan"),
    LineKind.REFUND: ("refund", "orphan"),
    LineKind.PAYOUT: ("payout",),
    LineKind.CHARGEBACK: ("dispute",),
}
_UNDER_WAY = {
    "charge": ("processing", "unknown", "requires_action"),
    "refund": ("processing", "pending", "unknown"),
    "payout": ("processing", "unknown"),
}
_DONE = {
    "charge": ("captured", "settled"),
    "refund": ("succeeded",),
    "payout": ("paid", "returned"),
    "dispute": ("needs_response", "under_review", "won", "lost"),
    "orphan": ("open", "resolved"),
}


def rule_on_line(line: StatementLine, side: BookSide | None, tolerance_minor: int) -> Ruling:
    """Return what a settled line means. Differences up to the tolerance, either way, are the rail's cost."""
    if line.gross_minor - line.fee_minor != line.net_minor:
        detail = "Its gross less its fee is not its net."
        return _drift(DriftKind.LINE_CONTRADICTS, detail, line.gross_minor - line.fee_minor, line.net_minor)
    if line.kind is LineKind.FEE:
        if line.gross_minor:
            return _drift(DriftKind.LINE_CONTRADICTS, "A fee has no gross.", 0, line.net_minor)
        return _matched(0, 0, adjust_minor=line.net_minor)
    if line.kind is LineKind.ADJUSTMENT:
        return _drift(DriftKind.ADJUSTMENT, "The rail explains it in no other way.", 0, line.net_minor)
    if side is None:
        return _drift(DriftKind.LINE_UNKNOWN, "The books have no such order on this rail.", 0, line.net_minor)
    refused = _contradiction(line, side)
    if refused is not None:
        return _drift(DriftKind.LINE_CONTRADICTS, refused, 0, line.net_minor)
    return _compared(line, side, tolerance_minor)


def rule_on_correction(line: StatementLine, earlier: EarlierLine | None, tolerance_minor: int) -> Ruling | None:
    """Return what a line means that corrects an earlier one; None: as if the earlier one had not come.

    The rail kept 0.62 and now says 0.70: what it owes is 0.08 less, and that is its cost.
    """
    if earlier is None:
        return _drift(DriftKind.LINE_UNKNOWN, "It corrects a line that never came.", 0, line.net_minor)
    if earlier.status is LineStatus.EXCEPTION:
        return None
    if (earlier.kind, earlier.currency) != (line.kind.value, line.currency):
        return _drift(DriftKind.LINE_CONTRADICTS, "It corrects a line of another kind or currency.", 0, line.net_minor)
    if line.gross_minor - line.fee_minor != line.net_minor:
        detail = "Its gross less its fee is not its net."
        return _drift(DriftKind.LINE_CONTRADICTS, detail, line.gross_minor - line.fee_minor, line.net_minor)
    if abs(line.gross_minor - earlier.gross_minor) > tolerance_minor:
        detail = "It corrects the gross amount of a line that the books agreed with."
        return _drift(DriftKind.LINE_DIFFERS, detail, earlier.gross_minor, line.gross_minor)
    return _matched(earlier.net_minor, line.net_minor, adjust_minor=line.net_minor - earlier.net_minor)


def rule_on_entry(line: StatementLine, expected_minor: int, tolerance_minor: int) -> Ruling:
    """Return what an entry of a bank's statement means: `expected_minor` is what its batches still owe."""
    difference = line.net_minor - expected_minor
    if not line.rail:
        return _drift(DriftKind.LINE_UNKNOWN, "It names no rail that remits to us.", 0, line.net_minor)
    if abs(difference) > tolerance_minor:
        named = line.batch or "(none named)"
        detail = f"{line.rail} owes {expected_minor} for batch {named}; it paid {line.net_minor}."
        return _drift(DriftKind.REMITTANCE_DIFFERS, detail, expected_minor, line.net_minor)
    return _matched(expected_minor, line.net_minor, adjust_minor=difference)


def rule_on_repeat(line: StatementLine, earlier: EarlierLine) -> Ruling:
    """Return what a line means whose reference had come before."""
    if earlier.content_hash == line.content_hash:
        return Ruling(status=LineStatus.DUPLICATE, detail=f"It came before as {earlier.id}.")
    detail = f"Its reference came before with other content, as {earlier.id}, and it is not marked as a correction."
    return _drift(DriftKind.LINE_CORRECTED, detail, earlier.net_minor, line.net_minor)


def _contradiction(line: StatementLine, side: BookSide) -> str | None:
    """Return why a line cannot be about this object of the books."""
    document, status = side.document, side.document["status"]
    if (line.gross_minor > 0) != (line.kind is LineKind.CAPTURE):
        return f"The sign of its gross is not a {line.kind}'s."
    if side.kind not in _OBJECTS[line.kind]:
        return f"Its order is a {side.kind}."
    if document["currency"] != line.currency:
        return f"The {side.kind} is in {document['currency']}."
    if status == "authorized" and document.get("amount_captured"):
        return None
    if status not in _DONE[side.kind] and status not in _UNDER_WAY.get(side.kind, ()):
        return f"The {side.kind} is {status}."
    if status in _DONE[side.kind] and document["rail"] != line.rail:
        return f"{document['rail']} had carried it out."
    if line.kind is LineKind.CAPTURE:
        known = document.get("settlements") or []
        if known and all(one["reference"] != line.reference for one in known):
            return f"{known[-1]['reference']} had settled the charge."
    return None


def _compared(line: StatementLine, side: BookSide, tolerance_minor: int) -> Ruling:
    document, under_way = side.document, side.document["status"] in _UNDER_WAY.get(side.kind, ())
    if side.kind == "charge":
        expected: int = document["amount"] if under_way else document["amount_captured"]
    else:
        expected = document["amount"] if line.kind is LineKind.CAPTURE else -document["amount"]
    difference = line.gross_minor - expected
    if abs(difference) > tolerance_minor:
        detail = f"The books have {abs(expected)} of the {side.kind}, the file {abs(line.gross_minor)}."
        return _drift(DriftKind.LINE_DIFFERS, detail, expected, line.gross_minor)
    if line.kind is LineKind.CAPTURE and abs(line.fee_minor) > expected:
        return _drift(DriftKind.LINE_CONTRADICTS, "Its fee is more than the charge.", 0, line.net_minor)
    if side.kind == "charge":
        # The fee is posted with the charge's settlement.
        return _matched(expected, line.gross_minor, adjust_minor=difference, effect=Effect.SETTLE)
    effect = Effect.TELL if under_way else Effect.NONE
    return _matched(expected, line.gross_minor, adjust_minor=difference - line.fee_minor, effect=effect)


def _matched(expected: int, actual: int, *, adjust_minor: int, effect: Effect = Effect.NONE) -> Ruling:
    if abs(adjust_minor) > AMOUNT_MINOR_MAX:
        return _drift(DriftKind.LINE_CONTRADICTS, "It is more than any amount taken.", expected, actual)
    return Ruling(
        status=LineStatus.MATCHED,
        expected_minor=expected,
        actual_minor=actual,
        adjust_minor=adjust_minor,
        effect=effect,
    )


def _drift(kind: DriftKind, detail: str, expected: int, actual: int) -> Ruling:
    return Ruling(status=LineStatus.EXCEPTION, kind=kind, detail=detail, expected_minor=expected, actual_minor=actual)
