"""The story of a file: match its lines page by page, wait for what may still come, say what is missing."""

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import policies
    from workflows.reconciliation_ports import FileClosing, MatchedPage, MatchLines, ReconciliationPort

WAIT_MAX = timedelta(days=1)
"""How long a file waits at most before its terms are read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileFile:
    """What starts the run: a file that is stored."""

    file_id: str


@workflow.defn(name="ReconciliationWorkflow")
class ReconciliationWorkflow:
    """One run a file. Lines hold their outcomes in the books, so a run that is repeated repeats nothing."""

    @workflow.run
    async def run(self, start: ReconcileFile) -> str:
        """Return the file's id once it is closed."""
        last, ended = 0, False
        while not ended:
            page: MatchedPage = await workflow.execute_activity_method(
                ReconciliationPort.match_lines,
                MatchLines(file_id=start.file_id, after=last),
                start_to_close_timeout=policies.MATCH_TIMEOUT,
                heartbeat_timeout=policies.SLOW_RAIL_HEARTBEAT,
                retry_policy=policies.RETRY_UNTIL_DONE,
            )
            last, ended = page.last, page.ended
        while True:
            closing: FileClosing = await workflow.execute_activity_method(
                ReconciliationPort.close_file,
                start.file_id,
                start_to_close_timeout=policies.MATCH_TIMEOUT,
                heartbeat_timeout=policies.SLOW_RAIL_HEARTBEAT,
                retry_policy=policies.RETRY_UNTIL_DONE,
            )
            if closing.wait_seconds is None:
                return start.file_id
            await workflow.sleep(min(timedelta(seconds=closing.wait_seconds), WAIT_MAX))


@workflow.defn(name="ResumeFilesWorkflow")
class ResumeFilesWorkflow:
    """One round; the schedule `reconciliation` starts the next."""

    @workflow.run
    async def run(self) -> int:
        """Return how many files were started that nobody had started."""
        started: int = await workflow.execute_activity_method(
            ReconciliationPort.resume_files,
            start_to_close_timeout=policies.READ_TIMEOUT,
            retry_policy=policies.RETRY_NEXT_ROUND,
        )
        return started
