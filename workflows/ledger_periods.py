"""The daily care for the ledger's periods: months are made ahead of time."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import policies
    from workflows.ports import LedgerPeriodPort


@workflow.defn(name="LedgerPeriodsWorkflow")
class LedgerPeriodsWorkflow:
    """One look; the schedule `ledger-periods` starts the next. A day missed is harmless: the last period is open."""

    @workflow.run
    async def run(self) -> int:
        """Return how many months were made."""
        return await workflow.execute_activity_method(
            LedgerPeriodPort.extend_ledger_periods,
            start_to_close_timeout=policies.PERIODS_TIMEOUT,
            retry_policy=policies.RETRY_PERIODS,
        )
