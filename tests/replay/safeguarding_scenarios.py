"""The paths of the daily reconciliation; `tests/replay/scenarios.py` lists them."""

from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from tests.workflows.conftest import World
from tests.workflows.test_safeguarding import DAYS, FakeSafeguarding
from workflows.policies import BACKGROUND_QUEUE
from workflows.safeguarding import SafeguardingDaysWorkflow, SafeguardingWorkflow


def _worker(world: World) -> Worker:
    port = FakeSafeguarding(fails=False)
    return Worker(
        world.client,
        task_queue=BACKGROUND_QUEUE,
        workflows=[SafeguardingDaysWorkflow, SafeguardingWorkflow],
        activities=[port.safeguarding_due, port.reconcile_safeguarding],
    )


async def safeguarding_two_days_due(world: World) -> WorkflowHandle[Any, Any]:
    async with _worker(world):
        run = SafeguardingDaysWorkflow.run
        handle = await world.client.start_workflow(run, id="golden/safeguarding", task_queue=BACKGROUND_QUEUE)
        await handle.result()
    return handle


async def safeguarding_one_day(world: World) -> WorkflowHandle[Any, Any]:
    async with _worker(world):
        run = SafeguardingWorkflow.run
        handle = await world.client.start_workflow(run, DAYS[0], id="golden/day", task_queue=BACKGROUND_QUEUE)
        await handle.result()
    return handle
