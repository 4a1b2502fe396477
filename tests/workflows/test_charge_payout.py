"""A charge settled to a payout: when it starts, and that it starts once."""

import asyncio

import pytest

from domain.charge import Charge, ChargePayout
from domain.identifiers import charge_payout_id
from domain.rail import DeclineClass, Flow, Outcome, RailAnswer
from tests.workflows.conftest import World
from tests.workflows.fakes import approve, decline
from workflows.charge_payout import ChargePayoutWorkflow, StartChargePayout
from workflows.policies import PAYMENTS_QUEUE

LATER = RailAnswer(outcome=Outcome.APPROVED, final_funds=False)


def with_payout(world: World, amount_minor: int | None = None) -> Charge:
    """A charge of 84.20 EUR that is to be paid out."""
    charge = world.charge()
    destination = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada"}
    payout = ChargePayout(id=charge_payout_id(charge.id), destination=destination, amount_minor=amount_minor)
    return world.charge(id=charge.id, payout=payout)


def settle(world: World, charge_id: str) -> None:
    """Let the charge's money become final in the books."""
    world.book.documents[charge_id] = {**world.book.documents[charge_id], "status": "settled"}


async def looked(world: World, charge: Charge) -> None:
    """Wait, bounded, until the charge was found unsettled and is looked at again later."""
    handle = world.client.get_workflow_handle(f"mer_a/test/payout_wait:{charge.id}")
    for _ in range(500):
        history = await handle.fetch_history()
        if any(event.HasField("timer_started_event_attributes") for event in history.events):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the charge was not looked at")


async def paid(world: World, charge: Charge) -> None:
    """Wait, bounded, until the payout is paid."""
    for _ in range(500):
        if world.book.documents.get(charge_payout_id(charge.id), {}).get("status") == "paid":
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the payout is not paid")


async def test_the_net_is_paid_out_once(world: World) -> None:
    charge = with_payout(world)
    await world.run(charge)
    await paid(world, charge)
    start = StartChargePayout(charge=charge)
    again = await world.client.execute_workflow(ChargePayoutWorkflow.run, start, id="again", task_queue=PAYMENTS_QUEUE)
    assert again["payout"] == charge_payout_id(charge.id)
    orders = [order for order in world.rails.orders if order.flow is Flow.PAYOUT]
    assert [order.amount_minor for order in orders] == [8262]
    assert world.book.facts() == ["charge_captured", "payout_started", "payout_paid"]


async def test_it_waits_for_the_settlement(world: World) -> None:
    world.rails.script = lambda request, call: LATER if request.flow is Flow.AUTHORIZE else approve(request, call)
    charge = with_payout(world, amount_minor=1_000)
    assert (await world.run(charge))["status"] == "captured"
    await looked(world, charge)
    assert [order.flow for order in world.rails.orders] == [Flow.AUTHORIZE]
    settle(world, charge.id)
    await world.client.get_workflow_handle(f"mer_a/test/payout_wait:{charge.id}").result()
    await paid(world, charge)
    assert world.rails.orders[-1].amount_minor == 1_000


@pytest.mark.parametrize("ended", ["declined"])
async def test_a_charge_without_money_starts_nothing(world: World, ended: str) -> None:
    world.rails.script = lambda request, call: decline(DeclineClass.HARD)
    document = await world.run(with_payout(world))
    assert (document["status"], document["payout"]["status"]) == (ended, "waiting")
    assert "payout_started" not in world.book.facts()
