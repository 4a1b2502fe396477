"""Captured is not settled: final funds by a settled line, with the rail's cost and the fee trued up (rules 20, 28)."""

from typing import Any

import pytest

from domain.charge import Charge
from domain.identifiers import Mode
from domain.rail import Outcome, RailAnswer
from domain.settlement import Settlement
from tests.workflows.conftest import World
from tests.workflows.test_refund_payout_transfer import run
from workflows.settlement import ChargeSettlementWorkflow, SettleCharge

NOT_FINAL = RailAnswer(outcome=Outcome.APPROVED, final_funds=False)
COST_PLUS = {
    "plan": "gold",
    "model": "cost_plus",
    "month": "2026-11",
    "month_volume": 0,
    "refund_fee": "none",
    "prices": [{"rail": "alpha", "tier_from": 0, "basis_points": 100, "fixed": 0, "cost_estimate": 86}],
}


async def captured(world: World, **changes: Any) -> Charge:
    """A charge whose money is not final yet."""
    world.rails.script = lambda request, call: NOT_FINAL
    charge = world.charge(**changes)
    document = await world.run(charge)
    assert document["status"] == "captured"
    return charge


def line(charge: Charge, reference: str = "line_1", **changes: Any) -> SettleCharge:
    """A settled line about all of a charge."""
    terms: dict[str, Any] = {
        "charge_id": charge.id,
        "merchant_id": "mer_a",
        "mode": Mode.TEST,
        "rail": "alpha",
        "reference": reference,
        "gross_minor": 8420,
        "currency": "EUR",
        "rail_fee_minor": 91,
    }
    return SettleCharge(settlement=Settlement(**(terms | changes)))


async def test_rule_28_a_captured_charge_is_settled_by_its_line(world: World) -> None:
    charge = await captured(world)
    document = await run(world, ChargeSettlementWorkflow.run, line(charge))
    assert (document["status"], document["fee"], document["net"]) == ("settled", 158, 8262)
    assert document["settlements"][0]["rail_fee"] == 91 and document["settlements"][0]["fee_true_up"] == 0
    assert world.book.facts() == ["charge_captured", "charge_settled"]
    assert world.book.events()[-1] == "charge.settled"
    again = await run(world, ChargeSettlementWorkflow.run, line(charge))
    assert again == document and world.book.facts().count("charge_settled") == 1


async def test_rule_28_instant_rails_settle_at_once(world: World) -> None:
    document = await world.run(world.charge())
    assert document["status"] == "settled"


async def test_rule_20_the_actual_cost_trues_the_fee_up(world: World) -> None:
    charge = await captured(world, pricing=COST_PLUS)
    assert world.book.documents[charge.id]["fee"] == 84 + 86
    document = await run(world, ChargeSettlementWorkflow.run, line(charge))
    assert (document["fee"], document["net"]) == (84 + 91, 8420 - 175)
    assert world.book.facts() == ["charge_captured", "charge_settled", "fee_true_up"]


async def test_rule_20_a_charge_settled_at_once_is_trued_up_when_the_file_comes(world: World) -> None:
    charge = world.charge(pricing=COST_PLUS)
    assert (await world.run(charge))["status"] == "settled"
    document = await run(world, ChargeSettlementWorkflow.run, line(charge, rail_fee_minor=80))
    assert (document["status"], document["fee"]) == ("settled", 84 + 80)
    assert world.book.events()[-1] == "charge.fee_adjusted"
    (fact,) = [one for posting in world.book.postings.values() for one in posting.facts if one.fact == "fee_true_up"]
    assert fact.difference_minor == -6


async def test_reconciliation_may_state_the_fee_itself(world: World) -> None:
    charge = await captured(world)
    await run(world, ChargeSettlementWorkflow.run, line(charge))
    document = await run(
        world, ChargeSettlementWorkflow.run, line(charge, "invoice_7", rail_fee_minor=None, fee_minor=150)
    )
    assert (document["fee"], document["settlements"][-1]["fee_true_up"]) == (150, -8)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"gross_minor": 8419}, "8420 EUR were captured"),
        ({"rail": "beta"}, "alpha had taken it"),
        ({"reference": "line_2"}, "line_1 had settled it"),
    ],
)
async def test_what_does_not_fit_moves_nothing_and_is_an_exception(
    world: World, changes: dict[str, Any], why: str
) -> None:
    charge = await captured(world)
    if "reference" in changes:
        await run(world, ChargeSettlementWorkflow.run, line(charge))
    moved, before = world.book.facts(), world.book.documents[charge.id]
    exception = await run(world, ChargeSettlementWorkflow.run, line(charge, **changes))
    assert (exception["kind"], exception["subject"]) == ("settlement_differs", charge.id)
    assert why in exception["detail"]
    assert world.book.facts() == moved and world.book.documents[charge.id] == before
