"""The daily reconciliation of what is safeguarded: a look for days that are due, and one run for each day.

The schedule `safeguarding` looks every few minutes instead of firing at the fixed time. The day's figures are those
of its instant anyway, and so neither a change of clocks nor an hour without a worker loses a day (decision 0039).
"""

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from workflows import policies
    from workflows.safeguarding_ports import SafeguardDay, SafeguardingPort


@workflow.defn(name="SafeguardingDaysWorkflow")
class SafeguardingDaysWorkflow:
    """One look; the schedule `safeguarding` starts the next. Looks never overlap."""

    @workflow.run
    async def run(self) -> int:
        """Return how many days were reconciled."""
        due = await workflow.execute_activity_method(
            SafeguardingPort.safeguarding_due,
            start_to_close_timeout=policies.SAFEGUARDING_TIMEOUT,
            retry_policy=policies.RETRY_NEXT_ROUND,
        )
        done = 0
        for day in due.days:
            try:
                await workflow.execute_child_workflow(
                    SafeguardingWorkflow.run,
                    day,
                    id=f"safeguarding/{day.day}",
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                )
                done += 1
            except WorkflowAlreadyStartedError:
                continue
        return done


@workflow.defn(name="SafeguardingWorkflow")
class SafeguardingWorkflow:
    """One day; its id is the day, so a day is reconciled once."""

    @workflow.run
    async def run(self, day: SafeguardDay) -> int:
        """Return how many reconciliations the day has."""
        return await workflow.execute_activity_method(
            SafeguardingPort.reconcile_safeguarding,
            day,
            start_to_close_timeout=policies.SAFEGUARDING_TIMEOUT,
            retry_policy=policies.RETRY_WATCH,
            summary=f"reconcile {day.day}",
        )
