"""The paths of reconciliation; `tests/replay/scenarios.py` lists them."""

from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from tests.workflows.conftest import World
from workflows.policies import BACKGROUND_QUEUE
from workflows.reconciliation import ReconcileFile, ReconciliationWorkflow
from workflows.reconciliation_ports import FileClosing, MatchedPage, MatchLines, ReconciliationPort


class FakeReconciliation(ReconciliationPort):
    """Two pages of lines, and a file that is closed the second time it is asked."""

    def __init__(self) -> None:
        self.closings = 0

    @activity.defn(name="match_lines")
    async def match_lines(self, page: MatchLines) -> MatchedPage:
        """Match two lines a page, four in all."""
        return MatchedPage(last=page.after + 2, ended=page.after == 2)

    @activity.defn(name="close_file")
    async def close_file(self, file_id: str) -> FileClosing:
        """Ask for a second of patience, then close."""
        self.closings += 1
        return FileClosing(wait_seconds=1.0 if self.closings == 1 else None)

    @activity.defn(name="resume_files")
    async def resume_files(self) -> int:
        """Find nothing."""
        return 0


async def reconciliation_waited_for_grace(world: World) -> WorkflowHandle[Any, Any]:
    fake = FakeReconciliation()
    worker = Worker(
        world.client,
        task_queue=BACKGROUND_QUEUE,
        workflows=[ReconciliationWorkflow],
        activities=[fake.match_lines, fake.close_file],
    )
    async with worker:
        run, start = ReconciliationWorkflow.run, ReconcileFile(file_id="file_1")
        handle = await world.client.start_workflow(run, start, id="golden/reconciliation", task_queue=BACKGROUND_QUEUE)
        assert await handle.result() == "file_1" and fake.closings == 2
    return handle
