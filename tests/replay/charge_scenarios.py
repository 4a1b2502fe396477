"""Paths of charges that end badly first: persons' findings, orphans. Recorded like every other scenario."""

from dataclasses import replace
from typing import Any

from temporalio.client import WorkflowHandle

from domain.rail import DeclineClass, Outcome, RailAnswer
from domain.risk import RiskDecision
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import UNKNOWN, approve, decline
from tests.workflows.test_charge import status_is
from tests.workflows.test_charge_payout import looked, settle, with_payout
from tests.workflows.test_charge_rules import PROOF, sca_until_authenticated
from tests.workflows.test_orphan import orphan, refused
from tests.workflows.test_orphan import start as start_orphan
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import AuthenticateCharge, ResolveCharge
from workflows.orphan import OrphanWorkflow, VoidOrphan

Handle = WorkflowHandle[Any, Any]
YES = RailAnswer(outcome=Outcome.APPROVED, final_funds=True)


async def charge_declined_by_person(world: World) -> Handle:
    world.rails.script = lambda request, call: UNKNOWN
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "unknown")
    await handle.execute_update(
        ChargeWorkflow.resolve,
        ResolveCharge(outcome="declined", actor="ak_1", note="acquirer's log", claim=claim(charge.id, "k2")),
    )
    await handle.result()
    # What asks on is a run of its own; left alone it would meet the next scenario's rails.
    await world.client.get_workflow_handle(f"mer_a/test/orphan:alpha:{charge.id}:1").terminate()
    return handle


async def orphan_reversed(world: World) -> Handle:
    world.rails.inquiry_script = lambda inquiry, call: YES
    return await start_orphan(world, orphan())


async def orphan_never_happened(world: World) -> Handle:
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.HARD) if call == 2 else UNKNOWN
    return await start_orphan(world, orphan(effect_key="ch_2:1", rail_key="ch_2:1", original_rail_key="ch_2:1"))


async def orphan_refused_then_reversed(world: World) -> Handle:
    world.rails.script = lambda request, call: approve(request, call) if call > 1 else decline(DeclineClass.HARD)
    one = orphan(effect_key="ch_3:1#2", original_rail_key="ch_3:1#2")
    handle = await start_orphan(world, one)
    await refused(world, one)
    order = VoidOrphan(actor="ak_1", note="told by the acquirer", claim=claim(one.id, "k2"))
    await handle.execute_update(OrphanWorkflow.void_orphan, order)
    return handle


async def charge_settled_to_a_payout(world: World) -> Handle:
    return await world.start(with_payout(world))


async def charge_payout_started(world: World) -> Handle:
    charge = with_payout(world)
    await world.run(charge)
    return world.client.get_workflow_handle(f"mer_a/test/payout_wait:{charge.id}")


async def charge_payout_waited(world: World) -> Handle:
    later = RailAnswer(outcome=Outcome.APPROVED, final_funds=False)
    world.rails.script = lambda request, call: later
    charge = with_payout(world)
    await world.run(charge)
    await looked(world, charge)
    settle(world, charge.id)
    return world.client.get_workflow_handle(f"mer_a/test/payout_wait:{charge.id}")


async def charge_authenticated_by_merchant(world: World) -> Handle:
    world.assessment.decision = RiskDecision.STEP_UP
    return await world.start(world.charge(authentication=PROOF))


async def charge_exempted_then_challenged(world: World) -> Handle:
    world.rails.script = sca_until_authenticated
    charge = world.charge(authentication={"exemption": "low_value"})
    handle = await world.start(charge)
    await status_is(world, charge.id, "requires_action")
    passed = AuthenticateCharge(result="success", evidence={"eci": "05"}, claim=claim(charge.id, "k2"))
    await handle.execute_update(ChargeWorkflow.authenticate, passed)
    return handle


async def charge_at_the_retry_limit(world: World) -> Handle:
    world.assessment.tries_left = 0
    return await world.start(world.charge())


async def charge_out_of_time(world: World) -> Handle:
    world.rails.script = lambda request, call: replace(decline(DeclineClass.SOFT), latency_ms=3_100.0)
    return await world.start(world.charge())


CHARGE_SCENARIOS = (
    charge_authenticated_by_merchant,
    charge_exempted_then_challenged,
    charge_at_the_retry_limit,
    charge_out_of_time,
    charge_settled_to_a_payout,
    charge_payout_started,
    charge_payout_waited,
    charge_declined_by_person,
    orphan_reversed,
    orphan_never_happened,
    orphan_refused_then_reversed,
)
