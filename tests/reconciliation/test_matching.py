"""Lines beside the books: what matches, and that exactly what was disturbed is an exception."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import Mode
from domain.orphan import orphan_of_order
from domain.reconciliation import DriftKind, LineKind, LineStatus, StatementLine
from reconciliation.matching import (
    BookSide,
    EarlierLine,
    Effect,
    Ruling,
    rule_on_correction,
    rule_on_entry,
    rule_on_line,
    rule_on_repeat,
)

AT = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
STATUSES = {
    **{"charge": "captured", "refund": "succeeded", "payout": "paid", "dispute": "needs_response"},
    "orphan": "resolved",
}
KINDS = {
    LineKind.CAPTURE: "charge",
    LineKind.REFUND: "refund",
    LineKind.PAYOUT: "payout",
    LineKind.CHARGEBACK: "dispute",
}


def line(**changes: Any) -> StatementLine:
    terms: dict[str, Any] = {
        "number": 1,
        "kind": LineKind.CAPTURE,
        "reference": "g-1",
        "order": "ch_1:1",
        "gross_minor": 8420,
        "fee_minor": 62,
        "currency": "EUR",
        "booked_at": AT,
        "rail": "card_gamma",
    } | changes
    return StatementLine(**({"net_minor": terms["gross_minor"] - terms["fee_minor"]} | terms))


def side(kind: str = "charge", amount: int = 8420, **changes: Any) -> BookSide:
    document = {"status": STATUSES[kind], "amount": amount, "currency": "EUR", "rail": "card_gamma"}
    if kind == "charge":
        document |= {"amount_captured": amount}
    return BookSide(
        kind=kind,
        object_id=f"{kind}_1",
        merchant_id="mer_a",
        mode=Mode.TEST,
        document={**document, **changes},
        rail_key=f"{kind}_1:1",
        moved_at=AT,
    )


def earlier(of: StatementLine, status: LineStatus = LineStatus.MATCHED) -> EarlierLine:
    return EarlierLine(
        id="line_0",
        status=status,
        content_hash=of.content_hash,
        kind=of.kind.value,
        gross_minor=of.gross_minor,
        net_minor=of.net_minor,
        currency=of.currency,
        subject="ch_1",
    )


def shape(ruling: Ruling) -> tuple[Any, ...]:
    return ruling.status.value, ruling.kind, ruling.difference_minor, ruling.adjust_minor, ruling.effect.value


def test_rule_30_gross_is_compared_and_the_fee_is_the_rails_cost() -> None:
    assert shape(rule_on_line(line(), side(), 0)) == ("matched", None, 0, 0, "settle")
    assert shape(rule_on_line(line(net_minor=8357), side(), 9)) == (
        *("exception", DriftKind.LINE_CONTRADICTS, -1),
        *(0, "none"),
    )
    fee = line(kind=LineKind.FEE, gross_minor=0, fee_minor=300, order="")
    assert shape(rule_on_line(fee, None, 0)) == ("matched", None, 0, -300, "none")
    refund = line(kind=LineKind.REFUND, gross_minor=-500, fee_minor=7)
    assert shape(rule_on_line(refund, side("refund", 500), 0)) == ("matched", None, 0, -7, "none")


@pytest.mark.parametrize("tolerance", [0, 1, 5])
@pytest.mark.parametrize("sign", [1, -1])
def test_rule_30_tolerance_holds_to_the_unit_in_both_directions(tolerance: int, sign: int) -> None:
    """At the tolerance a difference is the rail's cost, one unit over it is an exception, whichever way it goes."""
    at, over = sign * tolerance, sign * (tolerance + 1)
    assert shape(rule_on_line(line(gross_minor=8420 + at), side(), tolerance)) == ("matched", None, at, at, "settle")
    ruling = rule_on_line(line(gross_minor=8420 + over), side(), tolerance)
    assert shape(ruling) == ("exception", DriftKind.LINE_DIFFERS, over, 0, "none")
    assert (ruling.expected_minor, ruling.actual_minor) == (8420, 8420 + over)
    entry = line(kind=LineKind.ENTRY, gross_minor=1000 + at, fee_minor=0)
    assert shape(rule_on_entry(entry, 1000, tolerance)) == ("matched", None, at, at, "none")
    entry = line(kind=LineKind.ENTRY, gross_minor=1000 + over, fee_minor=0)
    assert shape(rule_on_entry(entry, 1000, tolerance)) == ("exception", DriftKind.REMITTANCE_DIFFERS, over, 0, "none")


@pytest.mark.parametrize(
    ("said", "has"),
    [
        (line(currency="USD"), side()),
        (line(), side(rail="card_alpha")),
        (line(), side(status="declined")),
        (line(), side(status="voided")),
        (line(), side(settlements=[{"reference": "g-0"}])),
        (line(gross_minor=-8420, fee_minor=0), side()),
        (line(gross_minor=20, fee_minor=62), side(amount=20)),
        (line(gross_minor=21, fee_minor=21), side(amount=20)),
        (line(kind=LineKind.FEE, gross_minor=0, fee_minor=-(2 * 10**15)), None),
        (line(kind=LineKind.REFUND, gross_minor=-8420), side()),
        (line(kind=LineKind.REFUND, gross_minor=-500), side("refund", 500, status="failed")),
        (line(kind=LineKind.PAYOUT, gross_minor=-500), side("payout", 500, status="failed")),
        (line(kind=LineKind.FEE, gross_minor=1), None),
    ],
)
def test_what_contradicts_the_books_is_an_exception(said: StatementLine, has: BookSide | None) -> None:
    ruling = rule_on_line(said, has, 1_000_000)
    assert ruling.kind is DriftKind.LINE_CONTRADICTS and ruling.detail.endswith(".")
    assert not ruling.adjust_minor and ruling.effect is Effect.NONE


def test_what_is_under_way_is_told_that_the_rail_did_it() -> None:
    refund = line(kind=LineKind.REFUND, gross_minor=-500, fee_minor=0)
    assert rule_on_line(refund, side("refund", 500, status="unknown"), 0).effect is Effect.TELL
    payout = line(kind=LineKind.PAYOUT, gross_minor=-500, fee_minor=0)
    assert rule_on_line(payout, side("payout", 500, status="processing"), 0).effect is Effect.TELL
    assert rule_on_line(payout, side("payout", 500, status="returned"), 0).effect is Effect.NONE
    assert rule_on_line(line(), side(status="unknown", amount_captured=0), 0).effect is Effect.SETTLE


def test_rule_30_a_corrected_line_applies_its_difference_or_is_an_exception() -> None:
    first, again = line(), line(fee_minor=70)
    assert rule_on_repeat(first, earlier(first)).status is LineStatus.DUPLICATE
    unmarked = rule_on_repeat(again, earlier(first))
    assert (unmarked.kind, unmarked.difference_minor) == (DriftKind.LINE_CORRECTED, -8)
    marked = rule_on_correction(again, earlier(first), 0)
    assert marked is not None and shape(marked) == ("matched", None, -8, -8, "none")
    gross = rule_on_correction(line(gross_minor=8430), earlier(first), 0)
    assert gross is not None and shape(gross) == ("exception", DriftKind.LINE_DIFFERS, 10, 0, "none")
    nobody = rule_on_correction(again, None, 0)
    assert nobody is not None and nobody.kind is DriftKind.LINE_UNKNOWN
    other = rule_on_correction(line(currency="USD"), earlier(first), 0)
    assert other is not None and other.kind is DriftKind.LINE_CONTRADICTS
    assert rule_on_correction(again, earlier(first, LineStatus.EXCEPTION), 0) is None


def book(chance: random.Random, size: int) -> dict[str, BookSide]:
    """Random books of one rail, by order."""
    found: dict[str, BookSide] = {}
    for number in range(size):
        kind = chance.choice(list(KINDS.values()))
        one = side(kind, chance.randint(10, 10**6))
        found[f"o-{number}"] = replace(one, object_id=f"{kind}_{number}", rail_key=f"o-{number}")
    return found


def truthful(books: dict[str, BookSide], chance: random.Random) -> list[StatementLine]:
    """What an honest rail writes about them."""
    by_object = {kind: line_kind for line_kind, kind in KINDS.items()}
    lines = []
    for number, (order, one) in enumerate(books.items(), 1):
        amount = one.document["amount"]
        gross = amount if one.kind == "charge" else -amount
        fee = chance.randint(0, min(9, amount))
        lines.append(
            line(
                number=number,
                kind=by_object[one.kind],
                reference=f"g-{order}",
                order=order,
                gross_minor=gross,
                fee_minor=fee,
            )
        )
    return lines


def reconciled(lines: list[StatementLine], books: dict[str, BookSide], tolerance: int) -> tuple[list[str], int]:
    """Exceptions by reference or missing order, and what the matched lines bring the rail's balance to."""
    found: list[str] = []
    seen: dict[str, StatementLine] = {}
    spoken, owed = set(), sum(_owed(one) for one in books.values())
    for one in lines:
        if one.reference in seen:
            ruling = rule_on_repeat(one, earlier(seen[one.reference]))
        else:
            seen[one.reference] = one
            ruling = rule_on_line(one, books.get(one.order), tolerance)
            spoken.add(one.order)
        if ruling.status is LineStatus.EXCEPTION:
            found.append(one.reference)
        elif ruling.status is LineStatus.MATCHED:
            owed += ruling.adjust_minor - (one.fee_minor if ruling.effect is Effect.SETTLE else 0) - one.net_minor
    found += [order for order in books if order not in spoken]
    return found, owed


def _owed(one: BookSide) -> int:
    amount: int = one.document["amount"]
    return amount if one.kind == "charge" else -amount


@given(seed=st.integers(0, 2**32), size=st.integers(0, 40), tolerance=st.integers(0, 3))
def test_rule_30_a_truthful_file_matches_whole_and_clears_the_rail(seed: int, size: int, tolerance: int) -> None:
    chance = random.Random(seed)
    books = book(chance, size)
    assert reconciled(truthful(books, chance), books, tolerance) == ([], 0)


@given(seed=st.integers(0, 2**32), size=st.integers(5, 40), disturbed=st.integers(1, 5))
def test_rule_30_exactly_what_was_disturbed_is_an_exception(seed: int, size: int, disturbed: int) -> None:
    """Dropped, another amount either way, another currency, an unknown order, other content under a known reference."""
    chance, tolerance = random.Random(seed), 2
    books = book(chance, size)
    lines = truthful(books, chance)
    expected: list[str] = []
    for place in sorted(chance.sample(range(size), disturbed), reverse=True):
        one = lines[place]
        how = chance.choice(["drop", "more", "less", "currency", "unknown", "repeat", "other"])
        shift = chance.randint(tolerance + 1, 9)
        if how == "drop":
            del lines[place]
            expected.append(one.order)
        elif how in ("more", "less"):
            shift = shift if how == "more" else -shift
            gross = one.gross_minor + shift
            lines[place] = line(**_said(one) | {"gross_minor": gross, "fee_minor": 0})
            expected.append(one.reference)
        elif how == "currency":
            lines[place] = line(**_said(one) | {"currency": "USD"})
            expected.append(one.reference)
        elif how == "unknown":
            lines[place] = line(**_said(one) | {"order": "nobody"})
            expected += [one.reference, one.order]
        elif how == "repeat":
            lines.append(one)  # Word for word: no exception.
        else:
            lines.append(line(**_said(one) | {"fee_minor": one.fee_minor + 1}))
            expected.append(one.reference)
    found, _ = reconciled(lines, books, tolerance)
    assert sorted(found) == sorted(expected)


def _said(one: StatementLine) -> dict[str, Any]:
    names = ("number", "kind", "reference", "order", "gross_minor", "fee_minor", "currency", "booked_at", "rail")
    return {name: getattr(one, name) for name in names}


def test_an_orphans_money_came_and_went_and_both_lines_match() -> None:
    """A rail's late yes for a charge that ended elsewhere is settled like any other, and so is giving it back."""
    came = rule_on_line(line(order="ch_1:1"), side("orphan"), 0)
    went = rule_on_line(line(kind=LineKind.REFUND, gross_minor=-8420, fee_minor=0), side("orphan"), 0)
    assert (came.status, came.effect, came.adjust_minor) == (LineStatus.MATCHED, Effect.NONE, -62)
    assert (went.status, went.effect, went.adjust_minor) == (LineStatus.MATCHED, Effect.NONE, 0)
    more = rule_on_line(line(gross_minor=8421), side("orphan"), 0)
    assert (more.kind, more.difference_minor) == (DriftKind.LINE_DIFFERS, 1)
    assert orphan_of_order("ch_1:1") == orphan_of_order("ch_1.orphan-ch_1_1:2") == "exc_orphan_ch_1_1"
