"""Sending again on request: one delivery, everything that failed since an instant, or a window of events.

Decides nothing about sending itself: it marks what is due, and delivery finds it. A replay is a cursor of
its own over a window, so that millions of events are replayed without a row for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

_WAKE = (
    "UPDATE webhook_cursors SET next_attempt_at = NULL, busy_until = '-infinity'"
    " WHERE endpoint_id = ANY (%(endpoints)s)"
)
# What a strict cursor is stuck at is sent by the cursor itself: unblocking it is enough, and keeps the order.
_QUEUE = (
    "UPDATE webhook_deliveries d SET status = 'pending', queued = true, failures = 0,"
    " next_attempt_at = clock_timestamp() FROM webhook_cursors c"
    " WHERE c.id = d.endpoint_id AND d.sequence <= c.sequence AND d.endpoint_id = %(endpoint)s AND "
)
_QUEUE_ONE = _QUEUE + "d.event_id = %(event)s"
_QUEUE_SINCE = _QUEUE + "d.status <> 'succeeded' AND d.last_attempt_at >= %(since)s"
_KNOWN = "SELECT 1 FROM webhook_deliveries WHERE endpoint_id = %(endpoint)s AND event_id = %(event)s"
_REPLAY = (
    "INSERT INTO webhook_cursors (id, endpoint_id, merchant_id, mode, kind, sequence, until_sequence)"
    " SELECT %(id)s, e.id, e.merchant_id, e.mode, 'replay', %(after)s, %(until)s FROM webhook_endpoints e"
    " WHERE e.id = %(endpoint)s ON CONFLICT (id) DO NOTHING"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Events with a sequence above `after`, up to and including `until`."""

    after: int
    until: int


class Recovery:
    """Marks what is to be sent again, as the worker's role. Whose endpoint it is was checked before."""

    def __init__(self, pool: "AsyncConnectionPool[AsyncConnection[Any]]") -> None:
        self._pool = pool

    async def retry(self, endpoint_id: str, event_id: str) -> bool:
        """Have one delivery tried again now, whatever became of it; False when the event was never sent there.

        Idempotent until it is sent.
        """
        parameters = {"endpoint": endpoint_id, "event": event_id, "endpoints": [endpoint_id]}
        async with self._pool.connection() as connection, connection.transaction():
            known = await (await connection.execute(_KNOWN, parameters)).fetchone()
            if known is not None:
                await connection.execute(_QUEUE_ONE, parameters)
                await connection.execute(_WAKE, parameters)
        return known is not None

    async def recover(self, endpoint_id: str, since: datetime) -> int:
        """Have everything that failed since an instant and has not succeeded tried again now; return how many."""
        parameters = {"endpoint": endpoint_id, "since": since, "endpoints": [endpoint_id]}
        async with self._pool.connection() as connection, connection.transaction():
            queued = await connection.execute(_QUEUE_SINCE, parameters)
            await connection.execute(_WAKE, parameters)
        return queued.rowcount

    async def replay(self, replays: Sequence[tuple[str, str]], window: Window) -> None:
        """Have a window of events sent again, by (replay id, endpoint id). Idempotent on the replay ids."""
        assert 0 <= window.after <= window.until
        async with self._pool.connection() as connection, connection.transaction():
            for replay_id, endpoint_id in replays:
                await connection.execute(
                    _REPLAY,
                    {"id": replay_id, "endpoint": endpoint_id, "after": window.after, "until": window.until},
                )
            await connection.execute(_WAKE, {"endpoints": [endpoint_id for _, endpoint_id in replays]})
