"""The paths of what schedules start: the watch, the rails' inbox, the ledger's months, files nobody took up."""

import asyncio
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from temporalio.worker import Worker

from tests.replay.reconciliation_scenarios import FakeReconciliation
from tests.workflows.conftest import World
from tests.workflows.test_rail_notices import FakeNotices
from workflows.ledger_periods import LedgerPeriodsWorkflow
from workflows.policies import ALERTS_WORKFLOW_ID, BACKGROUND_QUEUE, PROOF_WORKFLOW_ID
from workflows.ports import LedgerPeriodPort
from workflows.rail_inbox import RailInboxWorkflow
from workflows.reconciliation import ResumeFilesWorkflow
from workflows.watch import DeliverAlertsWorkflow, ProveBooksWorkflow, WatchBooksWorkflow
from workflows.watch_ports import BooksWatched, WatchPort

Handle = WorkflowHandle[Any, Any]

LOOKS = (
    BooksWatched(pause_seconds=0.1),
    BooksWatched(pause_seconds=0.1, proof_due=True, alerts_due=True),
    BooksWatched(pause_seconds=0.1, proof_due=True, alerts_due=True),
    BooksWatched(pause_seconds=3600.0),
)
"""The alerts of the second look are still being told at the third; the last pause leaves time to end the run."""


class FakePeriods(LedgerPeriodPort):
    """Two months are missing."""

    @activity.defn(name="extend_ledger_periods")
    async def extend_ledger_periods(self) -> int:
        """Make both."""
        return 2


class FakeWatch(WatchPort):
    """Looks as scripted; alerts are being told until `told` is set."""

    def __init__(self) -> None:
        self.looks = 0
        self.told = asyncio.Event()

    @activity.defn(name="watch_books")
    async def watch_books(self) -> BooksWatched:
        """Look."""
        self.looks += 1
        return LOOKS[self.looks - 1]

    @activity.defn(name="prove_books")
    async def prove_books(self) -> bool:
        """Find something."""
        return False

    @activity.defn(name="deliver_alerts")
    async def deliver_alerts(self) -> int:
        """Tell one receiver."""
        await self.told.wait()
        return 1


async def periods_extended(world: World) -> Handle:
    worker = _worker(world, LedgerPeriodsWorkflow, FakePeriods().extend_ledger_periods)
    return await _run(worker, world, LedgerPeriodsWorkflow.run)


async def inbox_collected_and_delivered(world: World) -> Handle:
    fakes = FakeNotices()
    worker = _worker(world, RailInboxWorkflow, fakes.collect_rail_notices, fakes.deliver_rail_notices)
    return await _run(worker, world, RailInboxWorkflow.run)


async def reconciliation_files_resumed(world: World) -> Handle:
    worker = _worker(world, ResumeFilesWorkflow, FakeReconciliation().resume_files)
    return await _run(worker, world, ResumeFilesWorkflow.run)


async def alerts_told(world: World) -> Handle:
    watch = FakeWatch()
    watch.told.set()
    return await _run(_watch_worker(world, watch), world, DeliverAlertsWorkflow.run)


async def proof_raised_alerts(world: World) -> Handle:
    watch = FakeWatch()
    watch.told.set()
    async with _watch_worker(world, watch):
        handle = await _start(world, ProveBooksWorkflow.run)
        await handle.result()
        await world.client.get_workflow_handle(ALERTS_WORKFLOW_ID).result()
    return handle


async def proof_while_alerts_are_told(world: World) -> Handle:
    watch = FakeWatch()
    async with _watch_worker(world, watch):
        telling = await _start(world, DeliverAlertsWorkflow.run, ALERTS_WORKFLOW_ID)
        handle = await _start(world, ProveBooksWorkflow.run)
        await handle.result()
        watch.told.set()
        await telling.result()
    return handle


async def watch_found_proof_and_alerts_due(world: World) -> Handle:
    """It watches for ever, so it is cancelled in its last pause."""
    watch = FakeWatch()
    async with _watch_worker(world, watch):
        handle = await _start(world, WatchBooksWorkflow.run)
        async with asyncio.timeout(30):
            while await _timers(handle) < len(LOOKS):
                await asyncio.sleep(0.05)
        watch.told.set()
        for beside in (PROOF_WORKFLOW_ID, ALERTS_WORKFLOW_ID):
            await world.client.get_workflow_handle(beside).result()
        await handle.cancel()
        await ended(handle)
    return handle


async def ended(handle: Handle) -> None:
    """Wait for a run's end. One that goes on for ever is cancelled by its scenario, and has ended well."""
    try:
        await handle.result()
    except WorkflowFailureError as error:
        if not isinstance(error.cause, CancelledError):
            raise


async def _timers(handle: Handle) -> int:
    history = await handle.fetch_history()
    return sum(event.HasField("timer_started_event_attributes") for event in history.events)


def _worker(world: World, workflow_type: type, *activities: Any) -> Worker:
    return Worker(world.client, task_queue=BACKGROUND_QUEUE, workflows=[workflow_type], activities=activities)


def _watch_worker(world: World, watch: FakeWatch) -> Worker:
    return Worker(
        world.client,
        task_queue=BACKGROUND_QUEUE,
        workflows=[WatchBooksWorkflow, ProveBooksWorkflow, DeliverAlertsWorkflow],
        activities=[watch.watch_books, watch.prove_books, watch.deliver_alerts],
    )


async def _start(world: World, run: Any, workflow_id: str = "golden/background") -> Handle:
    return await world.client.start_workflow(run, id=workflow_id, task_queue=BACKGROUND_QUEUE)


async def _run(worker: Worker, world: World, run: Any) -> Handle:
    async with worker:
        handle = await _start(world, run)
        await handle.result()
    return handle


BACKGROUND_SCENARIOS = (
    periods_extended,
    inbox_collected_and_delivered,
    reconciliation_files_resumed,
    alerts_told,
    proof_raised_alerts,
    proof_while_alerts_are_told,
    watch_found_proof_and_alerts_due,
)
