"""The periods of recorded time that movements and entries are partitioned by.

Decides how far ahead they are made (posting never depends on it: the last period is open) and when the
oldest may leave the book.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from ledger.watch import prove_whole_book

MONTHS_AHEAD = 3
"""Calendar months made ahead of time, when the schema is migrated and every day."""

EXTEND = f"SELECT extend_ledger_periods(now() + interval '{MONTHS_AHEAD} months')"


async def extend_periods(connection: psycopg.AsyncConnection) -> int:
    """Make the months that are missing ahead, tell the planner how the tables have grown, return how many were made.

    Idempotent. Posting waits for milliseconds while a month is made. `connection` is in autocommit.

    Raises:
        psycopg.errors.LockNotAvailable: readers held the tables for too long; nothing was made. Retryable.
        psycopg.OperationalError: the database is away. Retryable.
    """
    row = await (await connection.execute(EXTEND.encode())).fetchone()
    assert row is not None
    await connection.execute("SELECT analyze_ledger()")
    return int(row[0])


class ArchiveRefusedError(Exception):
    """The period stays in the book; the message says why. Not retryable before that has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One period: movements and entries recorded from `lower` (None: the beginning) to before `upper` (None: open).

    `entries` is an estimate; `size_bytes` counts both tables with their indexes, 0 once archived.
    """

    lower: datetime | None
    upper: datetime | None
    entries: int
    size_bytes: int
    archived_at: datetime | None


_PERIODS = """
    SELECT nullif(p.lower_at, '-infinity') AS lower, nullif(p.upper_at, 'infinity') AS upper, p.archived_at,
        greatest(coalesce(e.reltuples, 0), 0)::bigint AS entries,
        coalesce(pg_total_relation_size(e.oid), 0) + coalesce(pg_total_relation_size(m.oid), 0) AS size_bytes
    FROM ledger_periods p
    LEFT JOIN pg_class e ON e.oid = to_regclass('public.' || ledger_partition('entries', p.upper_at))
    LEFT JOIN pg_class m ON m.oid = to_regclass('public.' || ledger_partition('movements', p.upper_at))
    ORDER BY p.upper_at
"""


async def list_periods(connection: psycopg.AsyncConnection) -> list[Period]:
    """Return every period, oldest first. Reads only, on the owner's role."""
    async with connection.cursor(row_factory=class_row(Period)) as cursor:
        await cursor.execute(_PERIODS.encode())
        return await cursor.fetchall()


async def archive_period(connection: psycopg.AsyncConnection, upper: datetime) -> None:
    """Take the oldest period, the one that ends at `upper`, out of the book, after proving the whole book.

    Its partitions are then tables of schema `ledger_archive`. Balances since `upper` stay as they were;
    instants before it are refused. `connection` is the owner's, in autocommit.

    Raises:
        ArchiveRefusedError: the books don't prove, the period is not the oldest, not over or not verified by
            the watch, or has an entry that counts from later than its end. Nothing was done.
        psycopg.errors.LockNotAvailable: readers held the tables for too long; nothing was done. Retryable.
    """
    row = await (await connection.execute("SELECT refuse_archive(%s)", (upper,))).fetchone()
    assert row is not None
    if row[0] is not None:
        raise ArchiveRefusedError(row[0])
    proof = await prove_whole_book(connection)
    if proof.violations:
        first = proof.violations[0]
        raise ArchiveRefusedError(f"the books don't prove: {len(proof.violations)} violations, first {first}")
    try:
        await connection.execute("SELECT archive_ledger_period(%s)", (upper,))
    except psycopg.errors.InvalidParameterValue as error:
        raise ArchiveRefusedError(error.diag.message_primary) from error
