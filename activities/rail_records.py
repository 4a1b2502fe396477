"""What adapters must not forget, in PostgreSQL: `rails.records.RailRecords` over the worker's pool."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg_pool import AsyncConnectionPool
from pydantic_core import to_json

Document = Mapping[str, Any]

_ADD = "INSERT INTO rail_records (rail, key, document) VALUES (%s, %s, %s::jsonb) ON CONFLICT (rail, key) DO NOTHING"
_FIND = "SELECT document FROM rail_records WHERE rail = %s AND key = %s"
_REPLACE = (
    "UPDATE rail_records SET document = %s::jsonb, changed_at = clock_timestamp()"
    " WHERE rail = %s AND key = %s RETURNING 1"
)
_SEARCH = (
    "SELECT key, document FROM rail_records WHERE rail = %s AND document @> %s::jsonb ORDER BY created_at, key LIMIT %s"
)
_NEXT = (
    "INSERT INTO rail_counters AS counted (rail, series, last_number) VALUES (%s, %s, 1)"
    " ON CONFLICT (rail, series) DO UPDATE SET last_number = counted.last_number + 1 RETURNING last_number"
)


class StoredRailRecords:
    """Documents and counters of rails. Each call is one transaction; a lost connection is the caller's to retry."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def add(self, rail: str, key: str, document: Document) -> Document:
        """Keep a document under a new key and return what the key holds. Idempotent."""
        async with self._pool.connection() as connection:
            await connection.execute(_ADD, (rail, key, to_json(document).decode()))
            row = await (await connection.execute(_FIND, (rail, key))).fetchone()
        assert row is not None
        kept: Document = row[0]
        return kept

    async def find(self, rail: str, key: str) -> Document | None:
        """Return what a key holds. Reads only."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_FIND, (rail, key))).fetchone()
        return None if row is None else row[0]

    async def replace(self, rail: str, key: str, document: Document) -> None:
        """Put another document in the place of the one a key holds. Idempotent.

        Raises:
            KeyError: the key holds nothing. Not retryable.
        """
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_REPLACE, (to_json(document).decode(), rail, key))).fetchone()
        if row is None:
            raise KeyError(key)

    async def search(self, rail: str, matching: Document, *, limit: int = 100) -> Sequence[tuple[str, Document]]:
        """Return keys and documents whose documents hold every field of `matching`, oldest first. Reads only."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SEARCH, (rail, to_json(matching).decode(), limit))
            return [(row[0], row[1]) for row in await cursor.fetchall()]

    async def next_number(self, rail: str, series: str) -> int:
        """Return the next number of a series, beginning with 1."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_NEXT, (rail, series))).fetchone()
        assert row is not None
        return int(row[0])
