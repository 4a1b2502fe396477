"""The inbox of the rails: verify, store, answer; then bring each notice to its order until it is through.

A callback is answered 2xx once it is stored, whatever comes of it: everything after that is re-driven by
`RailInboxWorkflow`, so a process may die on any line.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from domain.inbound import Callback, InboundNotice, InboundReceipt, InboundStatus
from operations.notice_delivery import NoticeDelivery
from operations.notice_store import NoticeStore, Progress, StoredNotice
from rails.registry import Rails

DELIVERY_SECONDS_MAX = 3.0
BATCH = 200

_log = logging.getLogger(__name__)


class RailInbox:
    """Receives, collects and delivers what rails tell."""

    def __init__(self, *, rails: Rails, store: NoticeStore, delivery: NoticeDelivery) -> None:
        self._rails = rails
        self._store = store
        self._delivery = delivery

    async def receive(self, rail: str, headers: Mapping[str, str], body: bytes) -> Sequence[InboundReceipt]:
        """Take a callback: what it tells is stored when this returns. Idempotent on the rail's event ids.

        Raises:
            LookupError: nothing here reads callbacks of this rail. Not retryable.
            CallbackRefusedError: it is not signed by the rail, or too old. Not retryable.
            CallbackUnreadableError: it is signed and not understood. Not retryable as it stands.
            psycopg.OperationalError: nothing was stored. Retryable.
        """
        reader = self._rails.callback_reader(rail)
        notices = reader.read_callback(Callback(headers=headers, body=body, received_at=time.time()))
        return await self.take(notices)

    async def take(self, notices: Sequence[InboundNotice]) -> Sequence[InboundReceipt]:
        """Store notices and try once to bring the new ones to their orders. Idempotent on their event ids."""
        if not notices:
            return ()
        stored = await self._store.add(notices)
        return [receipt if not receipt.new else await self._receipt(notice, receipt) for notice, receipt in stored]

    async def deliver_due(self) -> int:
        """Bring every notice that is due to its order again; return how many were looked at."""
        due = await self._store.due(BATCH)
        for stored in due:
            await self._deliver(stored)
        return len(due)

    async def collect(self) -> int:
        """Fetch what rails don't send by themselves, and take it; return how many notices were new.

        A rail that fails doesn't stop the others; it is asked again at the next round.
        """
        found = await asyncio.gather(*(self._collect(name) for name in self._rails.collectors()))
        return sum(found)

    async def _collect(self, name: str) -> int:
        try:
            receipts = await self.take(await self._rails.collector(name).collect_notices())
        except Exception:
            # Whatever is wrong with one rail, the next round asks it again; nothing was acknowledged to it.
            _log.exception("nothing collected from %s", name)
            return 0
        return sum(receipt.new for receipt in receipts)

    async def _receipt(self, stored: StoredNotice, receipt: InboundReceipt) -> InboundReceipt:
        progress = await self._deliver(stored)
        if progress is None:
            return receipt
        return replace(receipt, status=progress.status, object_id=progress.object_id, detail=progress.detail)

    async def _deliver(self, stored: StoredNotice) -> Progress | None:
        """Bring one notice to its order and note how far it came; None if something was away."""
        notice = stored.notice
        try:
            async with asyncio.timeout(DELIVERY_SECONDS_MAX):
                progress = await self._delivery.deliver(notice)
                await self._store.note(stored, progress)
        except Exception as error:
            # Stored and due: the next round delivers it. An error here must not become the rail's problem.
            _log.warning("notice %s of %s waits: %s", notice.event_id, notice.rail, type(error).__name__)
            return None
        if progress.status in (InboundStatus.UNMATCHED, InboundStatus.KEPT):
            _log.warning("notice %s of %s is %s: %s", notice.event_id, notice.rail, progress.status, progress.detail)
        return progress
