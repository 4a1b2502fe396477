"""Every path through every workflow, as a scenario that can be run on a real server and recorded."""

from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import WorkflowHandle

from domain.rail import DeclineClass, Outcome, RailAnswer, RailPace, RailRequest
from domain.risk import RiskDecision
from tests.replay.background_scenarios import BACKGROUND_SCENARIOS
from tests.replay.charge_scenarios import CHARGE_SCENARIOS
from tests.replay.money_scenarios import MONEY_SCENARIOS
from tests.replay.reconciliation_scenarios import reconciliation_waited_for_grace
from tests.replay.safeguarding_scenarios import safeguarding_one_day, safeguarding_two_days_due
from tests.replay.stop_scenarios import payout_stopped_before_it_started, payout_stopped_in_transit
from tests.replay.webhook_scenarios import webhook_woken_then_disabled
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import NOT_ATTEMPTED, UNKNOWN, approve, decline
from tests.workflows.test_charge import status_is
from tests.workflows.test_refund_payout_transfer import (
    INSUFFICIENT,
    KNOWN_OTHERWISE,
    LONG_AGO,
    PENDING,
    fx_transfer,
    payout,
    refund,
    transfer,
)
from tests.workflows.test_two_phase_transfer import held, post, reversal, two_phase, void
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import AuthenticateCharge, CaptureCharge, ResolveCharge, VoidCharge
from workflows.payout import PayoutWorkflow
from workflows.policies import PAYMENTS_QUEUE
from workflows.rail_notices import HearsRails, RailNews
from workflows.refund import RefundWorkflow
from workflows.transfer import TransferWorkflow

Handle = WorkflowHandle[Any, Any]
Scenario = Callable[[World], Awaitable[Handle]]

YES = RailAnswer(outcome=Outcome.APPROVED, final_funds=True)
LATER_YES = RailAnswer(outcome=Outcome.APPROVED, final_funds=False)


async def _start(world: World, workflow_run: Any, start: Any, name: str) -> Handle:
    return await world.client.start_workflow(workflow_run, start, id=f"golden/{name}", task_queue=PAYMENTS_QUEUE)


async def charge_settled(world: World) -> Handle:
    return await world.start(world.charge())


async def charge_captured_not_final(world: World) -> Handle:
    world.rails.script = lambda request, call: LATER_YES
    return await world.start(world.charge())


async def charge_failed_over(world: World) -> Handle:
    world.rails.script = lambda request, call: approve(request, call) if call == 2 else decline(DeclineClass.SOFT)
    return await world.start(world.charge())


async def charge_declined_hard(world: World) -> Handle:
    world.rails.script = lambda request, call: decline(DeclineClass.HARD)
    return await world.start(world.charge())


async def charge_declined_everywhere(world: World) -> Handle:
    world.rails.script = lambda request, call: decline(DeclineClass.SOFT)
    return await world.start(world.charge())


async def charge_not_attempted_then_settled(world: World) -> Handle:
    world.rails.script = lambda request, call: NOT_ATTEMPTED if call == 1 else approve(request, call)
    return await world.start(world.charge())


async def charge_unknown_then_settled(world: World) -> Handle:
    world.rails.script = lambda request, call: UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: YES if call == 2 else UNKNOWN
    return await world.start(world.charge())


async def charge_unknown_then_declined(world: World) -> Handle:
    world.rails.script = lambda request, call: UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.SOFT)
    return await world.start(world.charge())


async def charge_unknown_resolved_by_person(world: World) -> Handle:
    world.rails.script = lambda request, call: UNKNOWN
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "unknown")
    await handle.execute_update(
        ChargeWorkflow.resolve,
        ResolveCharge(outcome="approved", actor="ak_1", note="acquirer's log", claim=claim(charge.id, "k2")),
    )
    return handle


async def charge_blocked_by_risk(world: World) -> Handle:
    world.assessment.decision = RiskDecision.BLOCK
    return await world.start(world.charge())


async def charge_stepped_up_by_risk(world: World) -> Handle:
    world.assessment.decision = RiskDecision.STEP_UP
    return await _authenticated(world, "success")


async def charge_authentication_failed(world: World) -> Handle:
    world.assessment.decision = RiskDecision.STEP_UP
    return await _authenticated(world, "failure")


async def charge_stepped_up_by_issuer(world: World) -> Handle:
    def script(request: RailRequest, call: int) -> RailAnswer:
        return approve(request, call) if request.authentication else decline(DeclineClass.SCA_REQUIRED)

    world.rails.script = script
    return await _authenticated(world, "success")


async def charge_captured_in_parts(world: World) -> Handle:
    charge = world.charge(capture=False)
    handle = await world.start(charge)
    await status_is(world, charge.id, "authorized")
    for key, amount, final in (("k2", 3000, False), ("k3", 9000, True), ("k4", None, True)):
        request = CaptureCharge(amount_minor=amount, final=final, claim=claim(charge.id, key))
        await handle.execute_update(ChargeWorkflow.capture, request)
    return handle


async def charge_captured_after_inquiry(world: World) -> Handle:
    world.rails.script = lambda request, call: approve(request, call) if call == 1 else UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: YES
    charge = world.charge(capture=False)
    handle = await world.start(charge)
    await status_is(world, charge.id, "authorized")
    request = CaptureCharge(amount_minor=None, final=True, claim=claim(charge.id, "k2"))
    await handle.execute_update(ChargeWorkflow.capture, request)
    return handle


async def charge_voided(world: World) -> Handle:
    charge = world.charge(capture=False)
    handle = await world.start(charge)
    await status_is(world, charge.id, "authorized")
    await handle.execute_update(ChargeWorkflow.void, VoidCharge(claim=claim(charge.id, "k2")))
    return handle


async def charge_expired(world: World) -> Handle:
    world.assessment.authorization_seconds = 1
    return await world.start(world.charge(capture=False))


async def _authenticated(world: World, result: str) -> Handle:
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "requires_action")
    await handle.execute_update(
        ChargeWorkflow.authenticate,
        AuthenticateCharge(result=result, evidence={"eci": "05"}, claim=claim(charge.id, "k2")),
    )
    return handle


async def refund_succeeded(world: World) -> Handle:
    return await _start(world, RefundWorkflow.run, refund(), "refund_succeeded")


async def refund_declined(world: World) -> Handle:
    world.rails.script = lambda request, call: decline(DeclineClass.HARD)
    return await _start(world, RefundWorkflow.run, refund(), "refund_declined")


async def refund_pending_then_failed(world: World) -> Handle:
    world.rails.script = lambda request, call: PENDING
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.HARD) if call == 2 else PENDING
    return await _start(world, RefundWorkflow.run, refund(), "refund_pending_then_failed")


async def refund_not_attempted_then_succeeded(world: World) -> Handle:
    world.rails.script = lambda request, call: NOT_ATTEMPTED if call == 1 else approve(request, call)
    return await _start(world, RefundWorkflow.run, refund(), "refund_not_attempted_then_succeeded")


async def refund_refused(world: World) -> Handle:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    return await _start(world, RefundWorkflow.run, refund(), "refund_refused")


async def payout_paid(world: World) -> Handle:
    return await _start(world, PayoutWorkflow.run, payout(), "payout_paid")


async def payout_rerouted(world: World) -> Handle:
    world.rails.script = lambda request, call: decline(DeclineClass.SOFT) if call == 1 else approve(request, call)
    return await _start(world, PayoutWorkflow.run, payout(), "payout_rerouted")


async def payout_pending_then_paid(world: World) -> Handle:
    world.rails.script = lambda request, call: PENDING
    world.rails.inquiry_script = lambda inquiry, call: YES if call == 2 else PENDING
    return await _start(world, PayoutWorkflow.run, payout(), "payout_pending_then_paid")


async def payout_unknown_then_failed(world: World) -> Handle:
    world.rails.script = lambda request, call: UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.HARD)
    return await _start(world, PayoutWorkflow.run, payout(), "payout_unknown_then_failed")


async def payout_refused(world: World) -> Handle:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    return await _start(world, PayoutWorkflow.run, payout(), "payout_refused")


async def payout_on_a_slow_rail(world: World) -> Handle:
    pace = RailPace(deadline_seconds=3.0, inquiry_delays_seconds=(1.0, 2.0))
    pending = RailAnswer(outcome=Outcome.PENDING, pace=pace)
    too_fast = RailAnswer(outcome=Outcome.NOT_ATTEMPTED, pace=pace)
    world.rails.script = lambda request, call: pending if request.deadline_seconds >= 3.0 else too_fast
    world.rails.inquiry_script = lambda inquiry, call: YES if call == 2 else PENDING
    return await _start(world, PayoutWorkflow.run, payout(), "payout_on_a_slow_rail")


async def refund_told_by_the_rail(world: World) -> Handle:
    world.rails.script = lambda request, call: PENDING
    world.rails.inquiry_script = lambda inquiry, call: PENDING
    handle = await _start(world, RefundWorkflow.run, refund(), "refund_told_by_the_rail")
    await status_is(world, "re_1", "pending")
    for event, answer in (("e1", None), ("e2", YES)):
        await handle.signal(HearsRails.rail_told, RailNews(rail_key="re_1:1", event_id=event, answer=answer))
    return handle


async def transfer_settled(world: World) -> Handle:
    return await _start(world, TransferWorkflow.run, transfer(), "transfer_settled")


async def transfer_refused(world: World) -> Handle:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    return await _start(world, TransferWorkflow.run, transfer(), "transfer_refused")


async def transfer_posted(world: World) -> Handle:
    handle = await held(world)
    await post(handle, "k2")
    return handle


async def transfer_posted_in_parts(world: World) -> Handle:
    handle = await held(world)
    await post(handle, "k2", 2000, final=False)
    await post(handle, "k3", 9000)
    await post(handle, "k4")
    return handle


async def transfer_voided(world: World) -> Handle:
    handle = await held(world)
    await void(handle, "k2")
    return handle


async def transfer_expired(world: World) -> Handle:
    return await held(world, two_phase(1))


async def transfer_hold_refused(world: World) -> Handle:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    return await _start(world, TransferWorkflow.run, two_phase(), "transfer_hold_refused")


async def transfer_reversed(world: World) -> Handle:
    return await _start(world, TransferWorkflow.run, reversal(), "transfer_reversed")


async def transfer_exchanged(world: World) -> Handle:
    return await _start(world, TransferWorkflow.run, fx_transfer(), "transfer_exchanged")


async def transfer_quote_expired(world: World) -> Handle:
    return await _start(world, TransferWorkflow.run, fx_transfer(expires_at=LONG_AGO), "transfer_quote_expired")


async def transfer_quote_used(world: World) -> Handle:
    world.book.refuse = lambda posting: KNOWN_OTHERWISE if posting.facts else None
    return await _start(world, TransferWorkflow.run, fx_transfer(), "transfer_quote_used")


RETIRED = {
    "dispute_created": "disputes ended with the commit that opened them; replays under the patch dispute-lifecycle",
}
"""Histories kept from before a change, that no scenario can record any more."""

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        charge_settled,
        charge_captured_not_final,
        charge_failed_over,
        charge_declined_hard,
        charge_declined_everywhere,
        charge_not_attempted_then_settled,
        charge_unknown_then_settled,
        charge_unknown_then_declined,
        charge_unknown_resolved_by_person,
        charge_blocked_by_risk,
        charge_stepped_up_by_risk,
        charge_authentication_failed,
        charge_stepped_up_by_issuer,
        charge_captured_in_parts,
        charge_captured_after_inquiry,
        charge_voided,
        charge_expired,
        refund_succeeded,
        refund_declined,
        refund_pending_then_failed,
        refund_not_attempted_then_succeeded,
        refund_refused,
        refund_told_by_the_rail,
        payout_on_a_slow_rail,
        *(payout_stopped_before_it_started, payout_stopped_in_transit),
        payout_paid,
        payout_rerouted,
        payout_pending_then_paid,
        payout_unknown_then_failed,
        payout_refused,
        transfer_settled,
        transfer_refused,
        transfer_posted,
        transfer_posted_in_parts,
        transfer_voided,
        transfer_expired,
        transfer_hold_refused,
        transfer_reversed,
        transfer_exchanged,
        transfer_quote_expired,
        transfer_quote_used,
        safeguarding_one_day,
        safeguarding_two_days_due,
        webhook_woken_then_disabled,
        reconciliation_waited_for_grace,
        *MONEY_SCENARIOS,
        *CHARGE_SCENARIOS,
        *BACKGROUND_SCENARIOS,
    )
}
