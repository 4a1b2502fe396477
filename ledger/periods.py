"""The periods of recorded time that movements and entries are partitioned by.

Decides how far ahead they are made. Posting never depends on it: the last period is open.
"""

import psycopg

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
