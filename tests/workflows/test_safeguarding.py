"""The daily reconciliation: a look runs each day that is due, in order, and a day runs once."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from temporalio import activity
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from workflows.policies import BACKGROUND_QUEUE
from workflows.safeguarding import SafeguardingDaysWorkflow, SafeguardingWorkflow
from workflows.safeguarding_ports import SafeguardDay, SafeguardingDue, SafeguardingPort
from workflows.schedules import SCHEDULES

DAYS = tuple(SafeguardDay(day=f"2026-03-{day}", at=datetime(2026, 3, day, 9, tzinfo=UTC)) for day in (28, 29))


@dataclass
class FakeSafeguarding(SafeguardingPort):
    """Says that both days are due, however often it is asked; if it `fails`, then at the first try of each day."""

    fails: bool = True
    tried: list[SafeguardDay] = field(default_factory=list)

    @activity.defn(name="safeguarding_due")
    async def safeguarding_due(self) -> SafeguardingDue:
        return SafeguardingDue(days=DAYS)

    @activity.defn(name="reconcile_safeguarding")
    async def reconcile_safeguarding(self, day: SafeguardDay) -> int:
        self.tried.append(day)
        if self.fails and self.tried.count(day) == 1:
            raise ConnectionError("the database is away")
        return 2


async def test_rule_31_a_day_is_reconciled_once(test_server_path: str) -> None:
    """Tried until it is done; a second look that finds it due does not run it again, and does not fail."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=test_server_path, data_converter=pydantic_data_converter
    )
    port = FakeSafeguarding()
    worker = Worker(
        environment.client,
        task_queue=BACKGROUND_QUEUE,
        workflows=[SafeguardingDaysWorkflow, SafeguardingWorkflow],
        activities=[port.safeguarding_due, port.reconcile_safeguarding],
    )
    async with environment, worker:
        done = [
            await environment.client.execute_workflow(
                SafeguardingDaysWorkflow.run, id=f"look-{look}", task_queue=BACKGROUND_QUEUE
            )
            for look in range(2)
        ]
        result = await environment.client.get_workflow_handle("safeguarding/2026-03-29").result()
    assert (done, result) == ([2, 0], 2)
    assert port.tried == [DAYS[0], DAYS[0], DAYS[1], DAYS[1]]


def test_the_schedule_looks_often_enough_to_lose_no_day() -> None:
    (row,) = [row for row in SCHEDULES if row.workflow == "SafeguardingDaysWorkflow"]
    assert row.id == "safeguarding" and row.every is not None and row.every.total_seconds() <= 600
