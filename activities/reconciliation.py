"""Reconciliation as activities: `operations/reconciliation.py` does the work."""

from temporalio import activity

from activities.heartbeats import beating
from operations.file_intake import FileIntake
from operations.reconciliation import Reconciler
from workflows.reconciliation_ports import FileClosing, MatchedPage, MatchLines, ReconciliationPort


class ReconciliationActivities(ReconciliationPort):
    """The reconciliation port over the worker's reconciler."""

    def __init__(self, reconciler: Reconciler, intake: FileIntake) -> None:
        self._reconciler = reconciler
        self._intake = intake

    @activity.defn(name="match_lines")
    async def match_lines(self, page: MatchLines) -> MatchedPage:
        """Match a page; see `ReconciliationPort.match_lines`."""
        async with beating():
            last, ended = await self._reconciler.match_page(page.file_id, page.after)
        return MatchedPage(last=last, ended=ended)

    @activity.defn(name="close_file")
    async def close_file(self, file_id: str) -> FileClosing:
        """Close a file; see `ReconciliationPort.close_file`."""
        async with beating():
            return FileClosing(wait_seconds=await self._reconciler.close(file_id))

    @activity.defn(name="resume_files")
    async def resume_files(self) -> int:
        """Start what was not started; see `ReconciliationPort.resume_files`."""
        return await self._intake.resume()
