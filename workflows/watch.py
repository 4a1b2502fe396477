"""The invariant watch as workflows: a loop every few seconds, a proof of the whole book daily, alerts until delivered.

Their histories are kept small: a run of the loop is one timer and one local activity (six events), and the loop
continues as new long before its history is large. The schedule only makes sure that the loop runs.
"""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.types import MethodAsyncNoParam
from temporalio.workflow import ChildWorkflowHandle, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from workflows import policies
    from workflows.watch_ports import BooksWatched, WatchPort

RUNS_PER_HISTORY = 250
"""1,500 events: twenty minutes at five seconds, well below where Temporal warns (10,000)."""


@workflow.defn(name="WatchBooksWorkflow")
class WatchBooksWorkflow:
    """Watches for ever; one at a time, because its schedule skips while it runs."""

    def __init__(self) -> None:
        self._proof: ChildWorkflowHandle[Any, Any] | None = None
        self._alerts: ChildWorkflowHandle[Any, Any] | None = None

    @workflow.run
    async def run(self) -> None:
        """Look, pause, look again; neither a proof nor an unreachable receiver of alerts keeps it from looking."""
        for _ in range(RUNS_PER_HISTORY):
            watched = await _watch_books()
            if watched.alerts_due:
                self._alerts = await _beside(self._alerts, DeliverAlertsWorkflow.run, policies.ALERTS_WORKFLOW_ID)
            if watched.proof_due:
                self._proof = await _beside(self._proof, ProveBooksWorkflow.run, policies.PROOF_WORKFLOW_ID)
            await asyncio.sleep(watched.pause_seconds)
        workflow.continue_as_new()


@workflow.defn(name="ProveBooksWorkflow")
class ProveBooksWorkflow:
    """One proof of the whole book."""

    @workflow.run
    async def run(self) -> bool:
        """Return whether the book is in order, and see to it that people hear of it if not."""
        in_order: bool = await workflow.execute_activity_method(
            WatchPort.prove_books,
            start_to_close_timeout=policies.PROOF_TIMEOUT,
            retry_policy=policies.RETRY_WATCH,
            summary="prove the whole book",
        )
        await _beside(None, DeliverAlertsWorkflow.run, policies.ALERTS_WORKFLOW_ID)
        return in_order


@workflow.defn(name="DeliverAlertsWorkflow")
class DeliverAlertsWorkflow:
    """Tells the receivers of alerts, for as long as it takes."""

    @workflow.run
    async def run(self) -> int:
        """Return how many messages were sent."""
        return await workflow.execute_activity_method(
            WatchPort.deliver_alerts,
            start_to_close_timeout=policies.ALERT_TIMEOUT,
            retry_policy=policies.RETRY_WATCH,
            summary="tell whoever is on call",
        )


async def _watch_books() -> BooksWatched:
    return await workflow.execute_local_activity_method(
        WatchPort.watch_books,
        start_to_close_timeout=policies.WATCH_TIMEOUT,
        retry_policy=policies.RETRY_WATCH,
        local_retry_threshold=timedelta(seconds=5),
    )


async def _beside(
    running: ChildWorkflowHandle[Any, Any] | None, run: MethodAsyncNoParam[Any, Any], workflow_id: str
) -> ChildWorkflowHandle[Any, Any] | None:
    """Start a workflow that outlives this one, unless one under this id is running."""
    if running is not None and not running.done():
        return running
    try:
        return await workflow.start_child_workflow(run, id=workflow_id, parent_close_policy=ParentClosePolicy.ABANDON)
    except WorkflowAlreadyStartedError:
        return None
