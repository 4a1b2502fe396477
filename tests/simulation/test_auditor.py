"""The auditor sees each kind of wrong there is: a world that balances, then one thing changed at a time."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.auditor import Auditor, Document, Effect, ExpectedBooks

PRICES = {"EUR": {"basis_points": 140, "fixed": 40}}
CLEARING = ("rail_clearing:card_alpha", "EUR")


def _row(rail_key: str, kind: str, amount: int, **fields: Any) -> Document:
    row: Document = {"rail": "card_alpha", "rail_key": rail_key, "kind": kind, "amount": amount, "currency": "EUR"}
    return {**row, "outcome": "approved", "capture": False, "at": "2026-11-01T00:00:00Z", **fields}


def _world() -> dict[str, Any]:
    charge: Document = {"object": "charge", "id": "ch_1", "status": "settled", "currency": "EUR", "account": "acct_a"}
    charge |= {"amount": 8420, "amount_captured": 8420, "fee": 158}
    held = {**charge, "id": "ch_2", "status": "authorized", "amount_captured": 1000, "fee": 54}
    refund: Document = {"object": "refund", "id": "re_1", "status": "succeeded", "currency": "EUR", "account": "acct_a"}
    lost = {**charge, "id": "ch_3", "status": "unknown", "amount_captured": 0, "fee": 0}
    operations = [
        _row("ch_1:1", "authorize", 8420, outcome="declined"),
        _row("ch_1:2", "authorize", 8420, capture=True),
        _row("ch_2:1", "authorize", 8420),
        _row("ch_2.capture1:1", "capture", 1000),
        _row("re_1:1", "refund", 420),
        _row("ch_3:1", "authorize", 8420, capture=True),
    ]
    return {
        "truth": {"operations": operations, "pending": [], "disputes": []},
        "documents": {one["id"]: one for one in (charge, held, {**refund, "amount": 420}, lost)},
        "disputes": [],
        "open_exceptions": [{"subject": "ch_3"}],
        "prices": PRICES,
    }


def _audit(world: dict[str, Any]) -> ExpectedBooks:
    return Auditor(**world).derive()


def test_a_world_that_balances() -> None:
    books = _audit(_world())
    assert books.findings == []
    assert books.balances["acct_a", "EUR"] == (8420 - 158) + (1000 - 54) - 420
    assert books.balances["fee_revenue", "EUR"] == 158 + 54
    assert books.balances[CLEARING] == -(8420 + 1000 - 420)
    assert books.holds == {("acct_a", 7420): 1}
    captured = Effect(rail="card_alpha", currency="EUR", direction="debit", amount=8420, object_id="ch_1")
    assert books.effects[captured] == 1 and books.effects.total() == 3
    assert sum(books.balances.values()) == 0


def _double(world: dict[str, Any]) -> None:
    world["truth"]["operations"].append(_row("ch_1:3", "authorize", 8420, capture=True))


def _forget(world: dict[str, Any]) -> None:
    del world["documents"]["re_1"]


def _never_happened(world: dict[str, Any]) -> None:
    world["truth"]["operations"] = [row for row in world["truth"]["operations"] if row["kind"] != "refund"]


def _nobody_asked(world: dict[str, Any]) -> None:
    world["open_exceptions"] = []


def _wrong_fee(world: dict[str, Any]) -> None:
    world["documents"]["ch_1"]["fee"] = 157


def _declined_but_done(world: dict[str, Any]) -> None:
    world["documents"]["ch_1"]["status"] = "declined"


def _chargeback_unseen(world: dict[str, Any]) -> None:
    world["truth"]["disputes"].append({"id": "rdp_1", "rail_key": "ch_1:2", "amount": 8420, "currency": "EUR"})


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (_double, "the rails did ch_1 2 times"),
        (_forget, "which no client was ever told of"),
        (_never_happened, "re_1 is succeeded, but at the rails it never happened"),
        (_nobody_asked, "ch_3 is still unknown and nobody is asked"),
        (_wrong_fee, "ch_1 says fee 157"),
        (_declined_but_done, "ch_1 is declined, but at the rails it happened"),
        (_chargeback_unseen, "is in no list of disputes"),
    ],
)
def test_one_thing_wrong(change: Callable[[dict[str, Any]], None], finding: str) -> None:
    world = copy.deepcopy(_world())
    change(world)
    findings = _audit(world).findings
    assert any(finding in found for found in findings), findings
