"""Delivery of a merchant's events to one webhook endpoint, for as long as it exists.

The run holds nothing but whose events it sends: what was delivered, and when to try again, is in the
database, so histories stay small and a run that is lost is simply started again.
"""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.webhooks import DeliverTo
    from workflows import effects

ROUNDS_MAX = 100
"""After so many rounds the run continues as a new one: about a thousand events of history."""

FALLBACK_SECONDS = 2.0
"""Who wakes endpoints when something is due comes first; the run's own timer is for when nobody does."""


def webhook_workflow_id(endpoint_id: str) -> str:
    """Return the id of the one run an endpoint has at a time."""
    return f"webhook/{endpoint_id}"


@workflow.defn(name="WebhookDeliveryWorkflow")
class WebhookDeliveryWorkflow:
    """One run an endpoint; ends when the endpoint is disabled or deleted."""

    def __init__(self) -> None:
        self._woken = False

    @workflow.run
    async def run(self, to: DeliverTo) -> None:
        """Deliver in rounds; between them wait to be woken, or for what is due."""
        for _ in range(ROUNDS_MAX):
            self._woken = False
            report = await effects.deliver_webhooks(to)
            if report.ended:
                return
            if report.wait_seconds != 0:
                await self._sleep(report.wait_seconds)
        workflow.continue_as_new(to)

    async def _sleep(self, seconds: float | None) -> None:
        timeout = None if seconds is None else timedelta(seconds=seconds + FALLBACK_SECONDS)
        try:
            await workflow.wait_condition(lambda: self._woken, timeout=timeout)
        except TimeoutError:
            return

    @workflow.signal(name="wake")
    def wake(self) -> None:
        """There is something to deliver. Any number of times; costs one round at most."""
        self._woken = True
