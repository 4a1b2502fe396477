"""What delivery remembers: where each endpoint stands, what was sent to it, and whose turn it is.

Everything is written under a lease: of two workers that both believe to deliver to one endpoint, only
the later one gets its progress stored, and the other stops. An event counts as done only in the commit
that stores its success, or its failure as a delivery of its own; a crash before it sends again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from domain.identifiers import Mode
from domain.timestamps import rfc3339
from domain.webhooks import DeliveryStatus, Ordering, type_patterns
from events.cursor import EventFilter, event_body, events_after, last_sequence
from events.sealing import SecretSealer
from events.sending import Attempt
from events.signing import SigningSecret

LEASE_SECONDS = 20
"""How long an endpoint counts as busy after its worker was last heard of."""

_NOW = "clock_timestamp()"
_TAKE = (
    f"UPDATE webhook_cursors SET lease = %(lease)s, busy_until = {_NOW} + make_interval(secs => {LEASE_SECONDS})"
    " WHERE id = %(endpoint)s"
)
_RELEASE = "UPDATE webhook_cursors SET lease = NULL WHERE id = %s AND lease = coalesce(%s, lease)"
_HOLD = (
    f"UPDATE webhook_cursors SET busy_until = {_NOW} + make_interval(secs => {LEASE_SECONDS}),"
    f" last_success_at = CASE WHEN %(success)s THEN {_NOW} ELSE last_success_at END,"
    " failures = CASE WHEN %(unblock)s THEN 0 ELSE failures END,"
    " next_attempt_at = CASE WHEN %(unblock)s THEN NULL ELSE next_attempt_at END"
    " WHERE id = %(endpoint)s AND lease = %(lease)s"
)
_ENDPOINT = "SELECT id, merchant_id, mode, status, version, document, internal FROM webhook_endpoints WHERE id = %s"
_CURSORS = (
    "SELECT c.id, c.sequence, c.until_sequence, c.failures FROM webhook_cursors c"
    " JOIN webhook_endpoints e ON e.id = c.endpoint_id"
    " WHERE c.endpoint_id = %(endpoint)s AND e.status = 'enabled' AND e.version = %(version)s"
    " AND (c.until_sequence IS NULL OR c.sequence < c.until_sequence)"
    f" AND (c.next_attempt_at IS NULL OR c.next_attempt_at <= {_NOW}) ORDER BY c.kind, c.created_at"
)
_STILL = "SELECT 1 FROM webhook_endpoints WHERE id = %(endpoint)s AND status = 'enabled' AND version = %(version)s"
_DUE = (
    "SELECT d.sequence, d.failures, d.first_attempt_at, c.last_success_at FROM webhook_deliveries d"
    " JOIN webhook_cursors c ON c.id = d.endpoint_id"
    f" WHERE d.endpoint_id = %(endpoint)s AND d.queued AND d.next_attempt_at <= {_NOW}"
    " ORDER BY d.sequence LIMIT %(limit)s"
)
_ADVANCE = (
    "UPDATE webhook_cursors SET sequence = greatest(sequence, %(sequence)s), failures = %(failures)s,"
    " next_attempt_at = %(next_attempt_at)s WHERE id = %(id)s"
)
_WRITE = "SELECT write_webhook_attempts(%s, %s, %s, %s, %s)"
_LEAVE = (
    "WITH due AS ("
    " SELECT min(next_attempt_at) AS at FROM (SELECT next_attempt_at FROM webhook_deliveries"
    " WHERE endpoint_id = %(endpoint)s AND queued UNION ALL SELECT next_attempt_at FROM webhook_cursors"
    " WHERE endpoint_id = %(endpoint)s AND (until_sequence IS NULL OR sequence < until_sequence)) one)"
    f" UPDATE webhook_cursors c SET busy_until = {_NOW} FROM due WHERE c.id = %(endpoint)s AND c.lease = %(lease)s"
    f" RETURNING c.sequence, extract(epoch FROM due.at - {_NOW})::float8"
)

Pool = AsyncConnectionPool[AsyncConnection[Any]]


class LeaseLostError(Exception):
    """Another worker delivers to this endpoint now; nothing of this round is stored any more. Not retryable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as delivery sees it. `secrets` are those that sign now, newest first."""

    id: str
    merchant_id: str
    mode: Mode
    version: int
    url: str
    ordering: Ordering
    in_flight_max: int
    patterns: Sequence[str] | None
    secrets: Sequence[SigningSecret]
    lease: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where reading for an endpoint stands; `failures` in a row of the event it is stuck at."""

    id: str
    sequence: int
    until: int | None = None
    failures: int = 0
    next_attempt_at: datetime | None = None

    def moved(self, sequence: int) -> "Cursor":
        """Return the cursor after an event that is done."""
        return replace(self, sequence=sequence, failures=0, next_attempt_at=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An event as it is sent."""

    id: str
    sequence: int
    type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events to send, and the sequence that is reached when all of them are done."""

    events: Sequence[Outgoing]
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery whose own time to be tried again has come. `first_attempt_at` and what succeeded since."""

    event: Outgoing
    failures: int
    succeeded_since: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one event: the requests made now, and how the delivery stands after them."""

    event: Outgoing
    attempts: Sequence[Attempt]
    status: DeliveryStatus
    failures: int = 0
    queued: bool = False
    next_attempt_at: datetime | None = None


class DeliveryBook:
    """Reads and writes it, as the worker's role."""

    def __init__(self, pool: Pool, sealer: SecretSealer) -> None:
        self._pool = pool
        self._sealer = sealer

    async def open(self, endpoint_id: str, lease: str, now: datetime) -> Endpoint | None:
        """Take the endpoint's lease and return it; None when it is not sent to any more, and nobody has its lease then.

        Raises:
            psycopg.OperationalError: the database is away. Retryable.
        """
        async with self._pool.connection() as connection, connection.transaction():
            rows = await _rows(connection, _ENDPOINT, (endpoint_id,))
            if not rows or rows[0]["status"] != "enabled":
                await connection.execute(_RELEASE, (endpoint_id, None))
                return None
            await connection.execute(_TAKE, {"lease": lease, "endpoint": endpoint_id})
        row, document = rows[0], rows[0]["document"]
        return Endpoint(
            id=row["id"],
            merchant_id=row["merchant_id"],
            mode=Mode(row["mode"]),
            version=row["version"],
            url=document["url"],
            ordering=Ordering(document["ordering"]),
            in_flight_max=document["in_flight_max"],
            patterns=type_patterns(document["event_types"]),
            secrets=self._sealer.open_current(row["internal"]["secrets"], endpoint_id, now),
            lease=lease,
        )

    async def cursors(self, endpoint: Endpoint) -> list[Cursor] | None:
        """Return the cursors that are not waiting, the live one first; None once the endpoint has changed."""
        parameters = {"endpoint": endpoint.id, "version": endpoint.version}
        async with self._pool.connection() as connection:
            rows = await _rows(connection, _CURSORS, parameters)
            if not rows and not await _rows(connection, _STILL, parameters):
                return None
        return [
            Cursor(id=row["id"], sequence=row["sequence"], until=row["until_sequence"], failures=row["failures"])
            for row in rows
        ]

    async def page(self, endpoint: Endpoint, cursor: Cursor, limit: int) -> Page:
        """Return the next events of a cursor that the endpoint wants."""
        async with self._pool.connection() as connection:
            last = (await _rows(connection, *last_sequence(endpoint.merchant_id, endpoint.mode.value)))[0]
            end = last["last_sequence"] if cursor.until is None else min(cursor.until, last["last_sequence"])
            if end <= cursor.sequence:
                return Page(events=(), end=cursor.sequence)
            events = await self._events(connection, endpoint, cursor.sequence, limit, end)
        return Page(events=events, end=events[-1].sequence if len(events) == limit else end)

    async def due(self, endpoint: Endpoint, limit: int) -> list[Due]:
        """Return deliveries to be tried again by themselves, in sequence."""
        async with self._pool.connection() as connection:
            rows = await _rows(connection, _DUE, {"endpoint": endpoint.id, "limit": limit})
            found = []
            for row in rows:
                (event,) = await self._events(connection, endpoint, row["sequence"] - 1, 1, row["sequence"], every=True)
                since = row["last_success_at"] is not None and row["last_success_at"] >= row["first_attempt_at"]
                found.append(Due(event=event, failures=row["failures"], succeeded_since=since))
        return found

    async def record(self, endpoint: Endpoint, outcomes: Sequence[Outcome], cursor: Cursor | None = None) -> None:
        """Store what became of events, and where the cursor stands after them, in one commit.

        Raises:
            LeaseLostError: another worker has taken over; nothing was stored. Not retryable.
        """
        success = any(outcome.status is DeliveryStatus.SUCCEEDED for outcome in outcomes)
        async with self._pool.connection() as connection, connection.transaction():
            # Where order is free, any success shows that the endpoint is back.
            unblock = success and endpoint.ordering is Ordering.PARALLEL
            parameters = {"endpoint": endpoint.id, "lease": endpoint.lease, "success": success, "unblock": unblock}
            held = await connection.execute(_HOLD, parameters)
            if held.rowcount != 1:
                raise LeaseLostError(endpoint.id)
            if outcomes:
                await connection.execute(_WRITE, _written(endpoint, outcomes))
            if cursor is not None:
                await connection.execute(
                    _ADVANCE,
                    {
                        "id": cursor.id,
                        "sequence": cursor.sequence,
                        "failures": cursor.failures,
                        "next_attempt_at": cursor.next_attempt_at,
                    },
                )

    async def leave(self, endpoint: Endpoint) -> tuple[int, float | None]:
        """Give the lease back; return the live cursor's sequence and the seconds until something is due."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_LEAVE, {"endpoint": endpoint.id, "lease": endpoint.lease})
            row = await cursor.fetchone()
        if row is None:
            raise LeaseLostError(endpoint.id)
        return int(row[0]), None if row[1] is None else max(0.0, float(row[1]))

    async def close(self, endpoint: Endpoint) -> None:
        """Say that nobody delivers to the endpoint any more. Idempotent; a later lease stays."""
        async with self._pool.connection() as connection:
            await connection.execute(_RELEASE, (endpoint.id, endpoint.lease))

    async def _events(
        self,
        connection: AsyncConnection[Any],
        endpoint: Endpoint,
        after: int,
        limit: int,
        until: int,
        *,
        every: bool = False,
    ) -> list[Outgoing]:
        wanted = EventFilter(patterns=None if every else endpoint.patterns, until=until)
        query = events_after(endpoint.merchant_id, endpoint.mode.value, after=after, limit=limit, wanted=wanted)
        return [
            Outgoing(id=row["id"], sequence=row["sequence"], type=row["type"], body=event_body(row))
            for row in await _rows(connection, *query)
        ]


async def _rows(connection: AsyncConnection[Any], sql: str, parameters: Any) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(sql.encode(), parameters)
        return await cursor.fetchall()


def _written(endpoint: Endpoint, outcomes: Sequence[Outcome]) -> tuple[Any, ...]:
    deliveries = [_delivery(outcome) for outcome in outcomes]
    attempts = [
        {
            "sequence": outcome.event.sequence,
            "nth": nth,
            "attempted_at": rfc3339(attempt.at),
            "duration_ms": attempt.duration_ms,
            "response_status": attempt.response_status,
            "error": attempt.error,
            "response": attempt.response,
        }
        for outcome in outcomes
        for nth, attempt in enumerate(outcome.attempts, 1)
    ]
    return endpoint.id, endpoint.merchant_id, endpoint.mode.value, Jsonb(deliveries), Jsonb(attempts)


def _delivery(outcome: Outcome) -> Mapping[str, Any]:
    event, attempts = outcome.event, outcome.attempts
    return {
        "sequence": event.sequence,
        "event_id": event.id,
        "event_type": event.type,
        "status": outcome.status.value,
        "tries": len(attempts),
        "failures": outcome.failures,
        "queued": outcome.queued,
        "next_attempt_at": rfc3339(outcome.next_attempt_at),
        "first_attempt_at": rfc3339(attempts[0].at),
        "last_attempt_at": rfc3339(attempts[-1].at),
    }
