"""Replaying a run against today's code: does it still decide what it decided?"""

from dataclasses import dataclass

from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from workflows.registry import PAYMENT_WORKFLOWS


@dataclass(frozen=True, slots=True)
class ReplayVerdict:
    """`failure` is None when today's code makes the same decisions as the history."""

    failure: str | None


async def replay(history: WorkflowHistory, converter: DataConverter) -> ReplayVerdict:
    """Replay a history against every workflow of today's code. Changes nothing anywhere."""
    replayer = Replayer(
        workflows=PAYMENT_WORKFLOWS, data_converter=converter, workflow_runner=UnsandboxedWorkflowRunner()
    )
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    failure = result.replay_failure
    return ReplayVerdict(None if failure is None else f"{type(failure).__name__}: {failure}")
