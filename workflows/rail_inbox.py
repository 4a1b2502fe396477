"""The round of the rails' inbox: collect what rails don't send, and bring to its order what is not through yet."""

import asyncio

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import policies
    from workflows.ports import NoticePort


@workflow.defn(name="RailInboxWorkflow")
class RailInboxWorkflow:
    """One round; the schedule `rail-inbox` starts the next. Rounds never overlap."""

    @workflow.run
    async def run(self) -> int:
        """Return how many notices were new or looked at again."""
        collected, delivered = await asyncio.gather(
            workflow.execute_activity_method(
                NoticePort.collect_rail_notices,
                start_to_close_timeout=policies.COLLECTION_TIMEOUT,
                heartbeat_timeout=policies.SLOW_RAIL_HEARTBEAT,
                retry_policy=policies.RETRY_NEXT_ROUND,
            ),
            workflow.execute_activity_method(
                NoticePort.deliver_rail_notices,
                start_to_close_timeout=policies.COLLECTION_TIMEOUT,
                heartbeat_timeout=policies.SLOW_RAIL_HEARTBEAT,
                retry_policy=policies.RETRY_NEXT_ROUND,
            ),
        )
        return collected + delivered
