"""Waking the delivery of webhooks: who has something to be sent, and nobody sending it? Whose run must end?

Looks at the database a few times a second, in every process that serves queue `background`; no charge
ever waits for it, and after a crash the next look finds whatever was left. Several processes share
the work: a row is claimed for some seconds before its workflow is signalled.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.service import RPCError

from domain.identifiers import Mode
from domain.webhooks import DeliverTo
from workflows.policies import BACKGROUND_QUEUE
from workflows.search_attributes import KIND, MERCHANT
from workflows.webhook_delivery import WebhookDeliveryWorkflow, webhook_workflow_id

LOOK_SECONDS = 0.25
OUTAGE_SECONDS = 2.0
CLAIM_SECONDS = 5
"""How long a signalled workflow has to take the endpoint's lease before it is signalled again."""

ENDPOINTS_PER_LOOK = 200
_CLAIM = f"""
    UPDATE webhook_cursors c SET busy_until = clock_timestamp() + make_interval(secs => {CLAIM_SECONDS})
    WHERE c.id IN (
        SELECT w.id FROM webhook_cursors w
        JOIN webhook_endpoints e ON e.id = w.endpoint_id
        CROSS JOIN LATERAL (SELECT max(v.sequence) AS last_sequence FROM events v
            WHERE v.merchant_id = w.merchant_id AND v.mode = w.mode) s
        WHERE w.kind = 'live' AND w.busy_until <= clock_timestamp() AND CASE WHEN e.status <> 'enabled'
            THEN w.lease IS NOT NULL
            ELSE (s.last_sequence > w.sequence AND coalesce(w.next_attempt_at, '-infinity') <= clock_timestamp())
            OR EXISTS (SELECT FROM webhook_deliveries d
                WHERE d.endpoint_id = w.endpoint_id AND d.queued AND d.next_attempt_at <= clock_timestamp())
            OR EXISTS (SELECT FROM webhook_cursors r
                WHERE r.endpoint_id = w.endpoint_id AND r.kind = 'replay' AND r.sequence < r.until_sequence
                AND coalesce(r.next_attempt_at, '-infinity') <= clock_timestamp()) END
        LIMIT {ENDPOINTS_PER_LOOK} FOR UPDATE OF w SKIP LOCKED)
    RETURNING c.endpoint_id, c.merchant_id, c.mode
"""

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def waking(client: Client, pool: "AsyncConnectionPool[AsyncConnection[Any]]") -> AsyncIterator[None]:
    """Wake endpoints until the block is left."""
    task = asyncio.create_task(_keep_waking(client, pool), name="webhook waking")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def wake_due(client: Client, pool: "AsyncConnectionPool[AsyncConnection[Any]]") -> int:
    """Wake every endpoint that has something due and nobody at work; return how many.

    Raises:
        RPCError, psycopg.OperationalError: Temporal or the database is away. Retryable.
    """
    async with pool.connection() as connection:
        cursor = await connection.execute(_CLAIM.encode())
        rows = await cursor.fetchall()
    targets = [DeliverTo(endpoint_id=row[0], merchant_id=row[1], mode=Mode(row[2])) for row in rows]
    await asyncio.gather(*(_wake(client, to) for to in targets))
    return len(targets)


async def _wake(client: Client, to: DeliverTo) -> None:
    """Signal the endpoint's run, or start it: also after Temporal has lost or ended it."""
    await client.start_workflow(
        WebhookDeliveryWorkflow.run,
        to,
        id=webhook_workflow_id(to.endpoint_id),
        task_queue=BACKGROUND_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        start_signal="wake",
        search_attributes=TypedSearchAttributes(
            [SearchAttributePair(MERCHANT, to.merchant_id), SearchAttributePair(KIND, "webhook_delivery")]
        ),
    )


async def _keep_waking(client: Client, pool: "AsyncConnectionPool[AsyncConnection[Any]]") -> None:
    while True:
        try:
            await wake_due(client, pool)
            await asyncio.sleep(LOOK_SECONDS)
        except (OperationalError, PoolTimeout, RPCError) as error:
            _log.warning("webhooks wait to be woken: %s", type(error).__name__)
            await asyncio.sleep(OUTAGE_SECONDS)
