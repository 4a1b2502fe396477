"""What a rail did after all is posted to suspense and given back (semantics rule 10)."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from domain.identifiers import Mode
from domain.orphan import Orphan
from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import NOT_ATTEMPTED, UNKNOWN, approve, decline
from tests.workflows.test_charge import status_is
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import ResolveCharge
from workflows.orphan import OrphanWorkflow, StartOrphan, VoidOrphan
from workflows.policies import PAYMENTS_QUEUE

YES = RailAnswer(outcome=Outcome.APPROVED, final_funds=True)


def orphan(**changes: Any) -> Orphan:
    """A sale of 84.20 EUR that a rail had declined and did after all."""
    terms: dict[str, Any] = {
        "merchant_id": "mer_a",
        "mode": Mode.TEST,
        "charge": "ch_1",
        "rail": "alpha",
        "rail_key": "ch_1:1",
        "effect_key": "ch_1:1",
        "flow": Flow.AUTHORIZE,
        "taken": True,
        "amount_minor": 8420,
        "currency": "EUR",
        "original_rail_key": "ch_1:1",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Orphan(**(terms | changes))


async def start(world: World, one: Orphan, *, told_by_rail: bool = True) -> Any:
    """Start an orphan's workflow as the API does."""
    return await world.client.start_workflow(
        OrphanWorkflow.run,
        StartOrphan(orphan=one, told_by_rail=told_by_rail),
        id=one.workflow_id,
        task_queue=PAYMENTS_QUEUE,
    )


async def refused(world: World, one: Orphan) -> None:
    """Wait, bounded, until the rail has refused to give it back."""
    for _ in range(500):
        if world.book.documents.get(one.id, {}).get("orphan", {}).get("refused"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{one.id} was not refused")


async def test_rule_10_a_late_success_goes_to_suspense_and_back_to_the_rail(world: World) -> None:
    world.rails.inquiry_script = lambda inquiry, call: YES
    document = await (await start(world, orphan())).result()
    assert (document["status"], document["kind"], document["subject"]) == ("resolved", "orphan", "ch_1")
    assert world.book.facts() == ["orphan_received", "orphan_reversed"]
    assert world.book.events() == ["charge.orphan_detected", "charge.orphan_reversed"]
    (order,) = world.rails.orders
    assert (order.flow, order.original_rail_key) == (Flow.REFUND, "ch_1:1")
    assert order.rail_key == document["orphan"]["reversal_key"] == "ch_1.orphan-ch_1_1:1"


async def test_rule_10_a_late_promise_is_voided(world: World) -> None:
    world.rails.inquiry_script = lambda inquiry, call: YES
    document = await (await start(world, orphan(taken=False))).result()
    assert document["status"] == "resolved"
    assert [order.flow for order in world.rails.orders] == [Flow.VOID]


async def test_rule_10_a_notice_that_the_rail_itself_contradicts_moves_nothing(world: World) -> None:
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.HARD) if call == 2 else UNKNOWN
    assert (await (await start(world, orphan())).result())["status"] == "never_happened"
    assert world.book.postings == {} and world.rails.orders == []


async def test_rule_10_a_second_effect_of_one_order_is_given_back_under_its_own_key(world: World) -> None:
    second = orphan(effect_key="ch_1:1#2", original_rail_key="ch_1:1#2")
    document = await (await start(world, second)).result()
    assert (document["id"], document["status"]) == ("exc_orphan_ch_1_1_2", "resolved")
    assert world.rails.questions == [] and world.rails.orders[0].original_rail_key == "ch_1:1#2"


async def test_rule_10_giving_back_is_asked_about_and_never_guessed(world: World) -> None:
    def script(request: RailRequest, call: int) -> RailAnswer:
        return NOT_ATTEMPTED if call == 1 else UNKNOWN

    world.rails.script = script
    world.rails.inquiry_script = lambda inquiry, call: YES if call != 2 else UNKNOWN
    document = await (await start(world, orphan())).result()
    assert document["status"] == "resolved"
    assert [order.rail_key for order in world.rails.orders] == ["ch_1.orphan-ch_1_1:1", "ch_1.orphan-ch_1_1:2"]
    assert [one["answered"] for one in document["unknown"]["inquiries"]] == ["unknown", "approved"]


async def test_rule_10_an_operator_tries_again_after_the_rails_no(world: World) -> None:
    world.rails.inquiry_script = lambda inquiry, call: YES
    world.rails.script = lambda request, call: approve(request, call) if call > 1 else decline(DeclineClass.HARD)
    one = orphan()
    handle = await start(world, one)
    await refused(world, one)
    assert world.book.documents[one.id]["status"] == "open"
    answer = await handle.execute_update(
        OrphanWorkflow.void_orphan, VoidOrphan(actor="ak_1", note="told by the acquirer", claim=claim(one.id, "k2"))
    )
    assert answer.document is not None and answer.document["status"] == "resolved"
    assert [order.rail_key[-2:] for order in world.rails.orders] == [":1", ":2"]
    assert (await handle.result())["status"] == "resolved"


async def test_rule_10_the_rail_is_asked_on_after_a_person_said_declined(world: World) -> None:
    world.rails.script = lambda request, call: UNKNOWN if request.flow is Flow.AUTHORIZE else approve(request, call)
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "unknown")
    finding = ResolveCharge(outcome="declined", actor="ak_1", note="not on the statement", claim=claim(charge.id, "k2"))
    await handle.execute_update(ChargeWorkflow.resolve, finding)
    assert (await handle.result())["status"] == "declined"
    world.rails.inquiry_script = lambda inquiry, call: YES
    watched = world.client.get_workflow_handle(f"mer_a/test/orphan:alpha:{charge.id}:1")
    document = await watched.result()
    assert (document["status"], document["subject"]) == ("resolved", charge.id)
    assert world.book.facts() == ["orphan_received", "orphan_reversed"]
    assert world.book.documents[charge.id]["status"] == "declined", "the charge stays as the customer was told"
