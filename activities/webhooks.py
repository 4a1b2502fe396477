"""Delivering webhooks: one round for one endpoint, kept alive by heartbeats, under a lease.

What a round does is decided in `events/rounds.py`; here it meets Temporal and the ledger.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from temporalio import activity

from domain.book import BookWriter
from domain.identifiers import Mode, new_identifier
from domain.webhooks import DeliverTo, DeliveryReport, EndpointChange, EndpointStatus
from events.deliveries import DeliveryBook
from events.rounds import DeliveryRound
from events.sending import Sender
from workflows.ports import WebhookPort

HEARTBEAT_SECONDS = 2.0
ACTOR = "webhook_delivery"
_READ = "SELECT document, version FROM webhook_endpoints WHERE id = %s"


class WebhookActivities(WebhookPort):
    """The webhook port over the database, connections to endpoints, and the poster for what is disabled."""

    def __init__(
        self,
        *,
        pool: "AsyncConnectionPool[AsyncConnection[Any]]",
        book: BookWriter,
        deliveries: DeliveryBook,
        senders: Mapping[Mode, Sender],
    ) -> None:
        self._pool = pool
        self._book = book
        self._deliveries = deliveries
        self._senders = senders

    @activity.defn(name="deliver_webhooks")
    async def deliver_webhooks(self, to: DeliverTo) -> DeliveryReport:
        """Deliver what there is; see `WebhookPort.deliver_webhooks`."""
        endpoint = await self._deliveries.open(to.endpoint_id, new_identifier("lease"), datetime.now(UTC))
        if endpoint is None:
            return DeliveryReport(sent=0, succeeded=0, sequence=0, ended=True)
        delivery = DeliveryRound(
            book=self._deliveries,
            sender=self._senders[to.mode],
            endpoint=endpoint,
            stopping=activity.is_worker_shutdown,
        )
        beating = asyncio.create_task(_beat(), name="webhook heartbeat")
        try:
            report = await delivery.run()
            if delivery.disable is None:
                return report
            await self._disable(endpoint.id, endpoint.merchant_id, delivery.disable)
            await self._deliveries.close(endpoint)
            return replace(report, ended=True)
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def _disable(self, endpoint_id: str, merchant_id: str, reason: str) -> None:
        """Commit that the endpoint is not sent to any more, with its notice event. Idempotent."""
        while True:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_READ, (endpoint_id,))
                row = await cursor.fetchone()
            assert row is not None, "endpoints are never removed"
            document, version = row
            if document["status"] != EndpointStatus.ENABLED:
                return
            disabled = {**document, "status": EndpointStatus.DISABLED.value, "disabled_reason": reason}
            change = EndpointChange(
                document=disabled, version=version + 1, verb="disabled", merchant_id=merchant_id, actor=ACTOR
            )
            # Refused or repeated when somebody else made this version: then look at what it says.
            await self._book.post(change.posting())


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_SECONDS)
