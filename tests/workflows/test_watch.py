"""The watch's loop: goes on whatever happens, asks for proofs and alerts beside it, and keeps its history small."""

import asyncio
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from workflows.policies import ALERTS_WORKFLOW_ID, BACKGROUND_QUEUE, PROOF_WORKFLOW_ID
from workflows.watch import RUNS_PER_HISTORY, DeliverAlertsWorkflow, ProveBooksWorkflow, WatchBooksWorkflow
from workflows.watch_ports import BooksWatched, WatchPort


@dataclass
class FakeWatch(WatchPort):
    """Says at its third look that everything is due; fails at its fifth."""

    looks: int = 0
    proofs: int = 0
    deliveries: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn(name="watch_books")
    async def watch_books(self) -> BooksWatched:
        self.looks += 1
        if self.looks == 5:
            raise ConnectionError("the database is away")
        if self.looks > RUNS_PER_HISTORY + 10:
            self.enough.set()
        return BooksWatched(pause_seconds=5.0, proof_due=self.looks == 3, alerts_due=self.looks == 3)

    @activity.defn(name="prove_books")
    async def prove_books(self) -> bool:
        self.proofs += 1
        return False

    @activity.defn(name="deliver_alerts")
    async def deliver_alerts(self) -> int:
        self.deliveries += 1
        if self.deliveries == 1:
            raise ConnectionError("nobody answers the pager")
        return 1


async def test_the_watch_goes_on(test_server_path: str) -> None:
    """Through an outage and into its next history; the proof and the alerts run beside it, retried until done."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=test_server_path, data_converter=pydantic_data_converter
    )
    watch = FakeWatch()
    worker = Worker(
        environment.client,
        task_queue=BACKGROUND_QUEUE,
        workflows=[WatchBooksWorkflow, ProveBooksWorkflow, DeliverAlertsWorkflow],
        activities=[watch.watch_books, watch.prove_books, watch.deliver_alerts],
    )
    async with environment, worker:
        handle = await environment.client.start_workflow(WatchBooksWorkflow.run, id="w", task_queue=BACKGROUND_QUEUE)
        first = await environment.client.get_workflow_handle("w").describe()
        while not watch.enough.is_set():
            await environment.sleep(60)
        now = await handle.describe()
        assert now.status is WorkflowExecutionStatus.RUNNING and now.run_id != first.run_id
        assert now.history_length < 200
        for beside in (PROOF_WORKFLOW_ID, ALERTS_WORKFLOW_ID):
            described = await environment.client.get_workflow_handle(beside).describe()
            assert described.status is WorkflowExecutionStatus.COMPLETED, beside
        assert watch.proofs == 1 and watch.deliveries >= 2
