"""Payouts that a stop holds back, to be recorded: before their money moved, and when it was in transit already."""

from typing import Any

from temporalio.client import WorkflowHandle

from domain.ledger import Refusal, RefusalCode
from domain.payout_stop import PAYOUTS_STOPPED
from domain.rail import Outcome, RailAnswer
from tests.workflows.conftest import World
from tests.workflows.fakes import approve
from tests.workflows.test_refund_payout_transfer import payout
from workflows.payout import PayoutWorkflow
from workflows.policies import PAYMENTS_QUEUE

STOPPED = Refusal(code=RefusalCode.PAYOUTS_STOPPED, detail="payouts in EUR are stopped")
HELD = RailAnswer(outcome=Outcome.NOT_ATTEMPTED, decline_code=PAYOUTS_STOPPED)


async def payout_stopped_before_it_started(world: World) -> WorkflowHandle[Any, Any]:
    """The ledger refuses the first movement; nothing moves until the stop is lifted."""
    world.stop.questions_left = 2
    refusals = iter([STOPPED])
    world.book.refuse = lambda posting: next(refusals, None) if posting.facts else None
    return await _start(world, "golden/payout_stopped_before_it_started")


async def payout_stopped_in_transit(world: World) -> WorkflowHandle[Any, Any]:
    """The money is in transit, the order is not given; the same order is given once the stop is lifted."""
    world.stop.questions_left = 1
    world.rails.script = lambda request, call: HELD if call == 1 else approve(request, call)
    return await _start(world, "golden/payout_stopped_in_transit")


async def _start(world: World, workflow_id: str) -> WorkflowHandle[Any, Any]:
    return await world.client.start_workflow(PayoutWorkflow.run, payout(), id=workflow_id, task_queue=PAYMENTS_QUEUE)
