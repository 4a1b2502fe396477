"""The round of the rails' inbox as activities: `operations/rail_inbox.py` does the work."""

from temporalio import activity

from activities.heartbeats import beating
from operations.rail_inbox import BATCH, RailInbox
from workflows.ports import NoticePort


class NoticeActivities(NoticePort):
    """The notice port over the worker's inbox."""

    def __init__(self, inbox: RailInbox) -> None:
        self._inbox = inbox

    @activity.defn(name="collect_rail_notices")
    async def collect_rail_notices(self) -> int:
        """Fetch what rails don't send; see `NoticePort.collect_rail_notices`."""
        async with beating():
            return await self._inbox.collect()

    @activity.defn(name="deliver_rail_notices")
    async def deliver_rail_notices(self) -> int:
        """Bring what is due to its orders; see `NoticePort.deliver_rail_notices`."""
        delivered = 0
        async with beating():
            while (looked_at := await self._inbox.deliver_due()) == BATCH:
                delivered += looked_at
        return delivered + looked_at
