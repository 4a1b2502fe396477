"""The inbox of what rails tell: each notice once, by the rail's own event id, with how far it has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg_pool import AsyncConnectionPool
from pydantic import TypeAdapter

from domain.inbound import InboundNotice, InboundReceipt, InboundStatus

# Seconds until a notice that is not through is looked at again; the last one repeats.
RETRY_SECONDS = (5, 15, 60, 300, 1800, 7200, 21_600)

_STORE = """
INSERT INTO rail_notices AS known (rail, event_id, kind, rail_key, rail_reference, notice)
VALUES (%(rail)s, %(event_id)s, %(kind)s, %(rail_key)s, %(rail_reference)s, %(notice)s::jsonb)
ON CONFLICT (rail, event_id) DO UPDATE SET times_received = known.times_received + 1
RETURNING id, notice, tries, status, object_id, detail, times_received = 1
"""
_DUE = "SELECT id, notice, tries FROM rail_notices WHERE due_at <= clock_timestamp() ORDER BY due_at, id LIMIT %(most)s"
# Several may look after one notice: what one of them has ended stays ended.
_NOTE = """
UPDATE rail_notices SET
    status = %(status)s, object_id = coalesce(%(object_id)s, object_id), detail = %(detail)s, tries = tries + 1,
    due_at = clock_timestamp() + make_interval(secs => %(seconds)s),
    handled_at = CASE WHEN %(seconds)s::float8 IS NULL THEN clock_timestamp() END
WHERE id = %(id)s AND due_at IS NOT NULL
"""
_NOTICE: TypeAdapter[InboundNotice] = TypeAdapter(InboundNotice)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNotice:
    """A notice that is safe. `tries`: how often it was brought to its order before."""

    id: int
    notice: InboundNotice
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a notice has come; HANDLED and KEPT end it, the others are looked at again."""

    status: InboundStatus
    object_id: str | None = None
    detail: str | None = None


class NoticeStore:
    """The table `rail_notices`."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def add(self, notices: Sequence[InboundNotice]) -> list[tuple[StoredNotice, InboundReceipt]]:
        """Store notices together, durable on return. Idempotent on (rail, event id): the first one stands.

        Raises:
            psycopg.OperationalError: the database is away; nothing is stored. Retryable.
        """
        stored = []
        async with self._pool.connection() as connection, connection.transaction():
            for notice in notices:
                row = await (await connection.execute(_STORE, _parameters(notice))).fetchone()
                assert row is not None
                receipt = InboundReceipt(
                    event_id=notice.event_id,
                    status=InboundStatus(row[3]),
                    new=row[6],
                    object_id=row[4],
                    detail=row[5],
                )
                stored.append((_stored(row), receipt))
        return stored

    async def due(self, most: int) -> list[StoredNotice]:
        """Return notices to be looked at now, the longest due first. Reads only."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_DUE, {"most": most})
            return [_stored(row) for row in await cursor.fetchall()]

    async def note(self, stored: StoredNotice, progress: Progress) -> None:
        """Write down how far a notice has come, and when it is looked at again."""
        ended = progress.status in (InboundStatus.HANDLED, InboundStatus.KEPT)
        pause = None if ended else RETRY_SECONDS[min(stored.tries, len(RETRY_SECONDS) - 1)]
        terms = {
            "id": stored.id,
            "status": progress.status.value,
            "object_id": progress.object_id,
            "detail": progress.detail,
            "seconds": pause,
        }
        async with self._pool.connection() as connection:
            await connection.execute(_NOTE, terms)


def _parameters(notice: InboundNotice) -> dict[str, Any]:
    return {
        "rail": notice.rail,
        "event_id": notice.event_id,
        "kind": notice.kind.value,
        "rail_key": notice.rail_key,
        "rail_reference": notice.rail_reference,
        "notice": _NOTICE.dump_json(notice).decode(),
    }


def _stored(row: Sequence[Any]) -> StoredNotice:
    return StoredNotice(id=row[0], notice=_NOTICE.validate_python(row[1]), tries=row[2])
