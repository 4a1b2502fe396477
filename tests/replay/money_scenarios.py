"""Paths of disputes and of rails' late words, as scenarios that can be run on a real server and recorded."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from domain.rail import DeclineClass, Outcome, RailAnswer
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import NOT_ATTEMPTED, UNKNOWN, decline
from tests.workflows.test_charge import status_is
from tests.workflows.test_dispute import dispute, inquiry, opened, submit, tell
from tests.workflows.test_rail_notice import refuse_closed, told
from tests.workflows.test_refund_low_balance import until_funded, waiting, with_policy
from tests.workflows.test_refund_payout_transfer import PENDING, payout, refund, run
from tests.workflows.test_settlement import COST_PLUS, captured, line
from workflows.dispute_messages import DisputeNews
from workflows.payout import PayoutWorkflow
from workflows.policies import PAYMENTS_QUEUE
from workflows.rail_notice import RailNoticeWorkflow
from workflows.refund import RefundWorkflow
from workflows.refund_messages import CancelRefund
from workflows.settlement import ChargeSettlementWorkflow

Handle = WorkflowHandle[Any, Any]
YES = RailAnswer(outcome=Outcome.APPROVED, final_funds=True)


async def _start(world: World, workflow_run: Any, start: Any, name: str) -> Handle:
    return await world.client.start_workflow(workflow_run, start, id=f"golden/{name}", task_queue=PAYMENTS_QUEUE)


async def dispute_won_with_evidence(world: World) -> Handle:
    handle = await opened(world)
    await submit(handle, "k1", submit=False)
    await submit(handle, "k2")
    await tell(handle, DisputeNews.WON)
    return handle


async def dispute_lost(world: World) -> Handle:
    handle = await opened(world)
    await tell(handle, DisputeNews.LOST)
    return handle


async def dispute_deadline_passed(world: World) -> Handle:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    return await opened(world, dispute(evidence_due_by=soon))


async def dispute_escalated_then_won(world: World) -> Handle:
    handle = await opened(world, inquiry())
    await submit(handle, "k1")
    await tell(handle, DisputeNews.ESCALATED, 4000)
    await status_is(world, "dp_1", "needs_response")
    await submit(handle, "k2")
    await tell(handle, DisputeNews.WON, 4000)
    return handle


async def dispute_inquiry_closed(world: World) -> Handle:
    handle = await opened(world, inquiry())
    await tell(handle, DisputeNews.CLOSED)
    return handle


async def dispute_evidence_unknown_then_refused(world: World) -> Handle:
    world.rails.script = lambda request, call: NOT_ATTEMPTED if call == 1 else UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.HARD, "dispute_not_open")
    handle = await opened(world)
    await submit(handle, "k1")
    await tell(handle, DisputeNews.LOST)
    return handle


async def notice_refund_failed_late(world: World) -> Handle:
    await run(world, RefundWorkflow.run, refund())
    return await _start(world, RailNoticeWorkflow.run, told("refund.failed", "re_1"), "notice_refund_failed_late")


async def notice_payout_returned(world: World) -> Handle:
    await run(world, PayoutWorkflow.run, payout())
    return await _start(world, RailNoticeWorkflow.run, told("payout.returned", "po_1"), "notice_payout_returned")


async def notice_waits_for_the_inquiry(world: World) -> Handle:
    world.rails.script = lambda request, call: PENDING
    world.rails.inquiry_script = lambda inquiry, call: YES
    await world.client.start_workflow(PayoutWorkflow.run, payout(), id="golden/p", task_queue=PAYMENTS_QUEUE)
    await status_is(world, "po_1", "processing")
    return await _start(world, RailNoticeWorkflow.run, told("payout.returned", "po_1"), "notice_waits")


async def notice_contradicting(world: World) -> Handle:
    await run(world, PayoutWorkflow.run, payout())
    await run(world, RailNoticeWorkflow.run, told("payout.returned", "po_1"))
    return await _start(world, RailNoticeWorkflow.run, told("payout.paid", "po_1", "rr_2"), "notice_contradicting")


async def notice_into_suspense(world: World) -> Handle:
    await run(world, PayoutWorkflow.run, payout())
    world.book.refuse = refuse_closed
    return await _start(world, RailNoticeWorkflow.run, told("payout.returned", "po_1"), "notice_into_suspense")


async def settlement_settled(world: World) -> Handle:
    charge = await captured(world)
    return await _start(world, ChargeSettlementWorkflow.run, line(charge), "settlement_settled")


async def settlement_trued_up(world: World) -> Handle:
    charge = await captured(world, pricing=COST_PLUS)
    return await _start(world, ChargeSettlementWorkflow.run, line(charge), "settlement_trued_up")


async def settlement_differs(world: World) -> Handle:
    charge = await captured(world)
    start = line(charge, gross_minor=8419)
    return await _start(world, ChargeSettlementWorkflow.run, start, "settlement_differs")


async def refund_with_its_fee(world: World) -> Handle:
    start = refund()
    start = replace(start, refund=replace(start.refund, fee_policy="prorata"))
    return await _start(world, RefundWorkflow.run, start, "refund_with_its_fee")


async def refund_waited_for_funds(world: World) -> Handle:
    fund = until_funded(world)
    handle = await waiting(world)
    fund()
    await handle.signal(RefundWorkflow.funds_arrived)
    return handle


async def refund_cancelled(world: World) -> Handle:
    until_funded(world)
    handle = await waiting(world)
    await handle.execute_update(RefundWorkflow.cancel, CancelRefund(claim=claim("re_1", "k2")), id="k2")
    return handle


async def refund_funds_did_not_come(world: World) -> Handle:
    until_funded(world)
    return await waiting(world, with_policy(wait_seconds_max=1))


async def notice_takes_the_fee_again(world: World) -> Handle:
    start = refund()
    await run(world, RefundWorkflow.run, replace(start, refund=replace(start.refund, fee_policy="prorata")))
    return await _start(world, RailNoticeWorkflow.run, told("refund.failed", "re_1"), "notice_takes_the_fee_again")


MONEY_SCENARIOS: tuple[Callable[[World], Awaitable[Handle]], ...] = (
    dispute_won_with_evidence,
    dispute_lost,
    dispute_deadline_passed,
    dispute_escalated_then_won,
    dispute_inquiry_closed,
    dispute_evidence_unknown_then_refused,
    notice_refund_failed_late,
    notice_payout_returned,
    notice_waits_for_the_inquiry,
    notice_contradicting,
    notice_into_suspense,
    notice_takes_the_fee_again,
    refund_with_its_fee,
    refund_waited_for_funds,
    refund_cancelled,
    refund_funds_did_not_come,
    settlement_settled,
    settlement_trued_up,
    settlement_differs,
)
