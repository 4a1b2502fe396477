"""The invariant watch: proves what is new against what was proved before, and old rows again, a slice at a time.

Decides what is looked at in one run and keeps how far the book is verified. What a violation sets off (alert, stop of
payouts) is decided by `activities/watching.py`. All of it runs on the poster's role, which sees the whole book.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from ledger import watch_statements as statements
from ledger.balances import CurrencyTotals
from ledger.invariants import VIOLATIONS_MAX, Violation, check_books, violation_of

NEW_MOVEMENTS_MAX = 100_000
"""New movements one run verifies; after a long pause the backlog takes several runs, each a short snapshot."""

PATROL_MOVEMENTS = 2_000
"""Old movements verified again in each run: 4,000 entries, about 50 ms."""

PATROL_ACCOUNTS = 5_000
"""Accounts compared with what was verified in each run; about 40 ms."""

SORT_MEMORY = "64MB"
"""For sorting 200,000 entries by account in memory; the server's own 4 MB would go to disk."""

_LAST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRun:
    """What a run found. `currencies` are the sums over all entries verified so far, in minor units.

    `movement_id` is the watermark: every movement up to it is verified; `movements_behind` are not yet, the
    oldest since `behind_seconds`. `entries_checked` are those verified for the first time, `patrolled` old
    ones looked at again. `guards_changed`: the append-only triggers are not as they were when the whole book
    was last proved, so it should be proved now.
    """

    checked_at: datetime
    movement_id: int
    movements_behind: int
    behind_seconds: float
    entries_checked: int
    entries_verified: int
    patrolled: int
    currencies: tuple[CurrencyTotals, ...]
    violations: tuple[Violation, ...]
    guards_changed: bool

    @property
    def ok(self) -> bool:
        """Whether every rule held in what was looked at."""
        return not self.violations


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeProof:
    """The whole book against every rule and against what was verified before. `guards`: see `accept_guards`."""

    checked_at: datetime
    entries_checked: int
    currencies: tuple[CurrencyTotals, ...]
    violations: tuple[Violation, ...]
    guards: str

    @property
    def ok(self) -> bool:
        """Whether every rule held."""
        return not self.violations


class WatchBusyError(Exception):
    """Another run of the watch is under way. Retryable."""


async def check_new(
    connection: AsyncConnection,
    *,
    new_movements_max: int = NEW_MOVEMENTS_MAX,
    patrol_movements: int = PATROL_MOVEMENTS,
    patrol_accounts: int = PATROL_ACCOUNTS,
) -> WatchRun:
    """Verify what was recorded since the last run, and a slice of what was verified before; in one snapshot.

    Costs in proportion to what is new and to the slices. New entries are held against their movement, their
    account's verified balance, sequence and instant; holds against their movements; accounts against what
    their entries came to; each currency against zero. `connection` is in autocommit.

    Raises:
        WatchBusyError: another run has the turn. Retryable.
        psycopg.OperationalError: the database is away; nothing was noted. Retryable.
    """
    async with _turn(connection), connection.cursor(row_factory=dict_row) as cursor:
        state = await _one(cursor, statements.STATE)
        after, clock = state["movement_id"], state["clock"]
        upto = min(clock, after + new_movements_max)
        found = await _violations(cursor, statements.GUARDS_OFF)
        found += await _violations(cursor, statements.AHEAD_OF_CLOCK, clock=clock)
        if upto > after:
            found += await _violations(cursor, statements.SLICE_OF_NEW, after=after, upto=upto)
        patrol_upto, patrolled = await _patrol(cursor, state, upto, patrol_movements, found)
        accounts_upto = state["patrol_account_id"]
        if upto == clock:
            accounts_upto = await _patrol_accounts(cursor, accounts_upto, patrol_accounts, found)
        await cursor.execute(
            "UPDATE ledger_watch SET movement_id = %s, patrol_movement_id = %s, patrol_account_id = %s",
            (upto, patrol_upto, accounts_upto),
        )
        currencies, entries = await _totals(cursor)
    return WatchRun(
        checked_at=state["now"],
        movement_id=upto,
        movements_behind=clock - upto,
        behind_seconds=_age_seconds(state["now"], state["oldest_unverified"]) if clock > upto else 0.0,
        entries_checked=entries - state["entries"],
        entries_verified=entries,
        patrolled=patrolled,
        currencies=currencies,
        violations=_distinct(found),
        guards_changed=state["guards"] != state["guards_now"],
    )


async def prove_whole_book(connection: AsyncConnection) -> WholeProof:
    """Prove every rule over every entry, and that what was verified before is still as it was; in one snapshot.

    Reads only. Costs in proportion to the book, and holds a snapshot for as long: not in the busiest hour.
    Finds what the incremental check can't see any more, for instance a movement removed together with its
    entries and with the balances put right. `connection` is in autocommit.
    """
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # Before the snapshot: no period is archived between it and the reading of what it left behind.
        await connection.execute("LOCK TABLE movements, entries IN ACCESS SHARE MODE")
        async with connection.cursor(row_factory=dict_row) as cursor:
            guards = (await _one(cursor, f"SELECT ({statements.GUARDS}) AS guards"))["guards"]
            report = await check_books(connection)
            found = list(report.violations)
            found += await _violations(cursor, statements.TOTALS_OF_VERIFIED)
            found += await _violations(cursor, statements.GUARDS_OFF)
    return WholeProof(
        checked_at=report.checked_at,
        entries_checked=report.entries_checked,
        currencies=report.currencies,
        violations=_distinct(found),
        guards=guards,
    )


async def rebase(connection: AsyncConnection) -> None:
    """Take the book as it is stored for verified, so that a known incident hides no later one. Reads every entry.

    For when a person has taken note of what changed behind the watch. `connection` is in autocommit.

    Raises:
        WatchBusyError: another run has the turn. Retryable.
    """
    async with _turn(connection):
        for statement in statements.REBASE:
            await connection.execute(statement.encode())


async def accept_guards(connection: AsyncConnection, guards: str) -> None:
    """Note that the whole book was proved with the append-only triggers as `guards` says."""
    await connection.execute("UPDATE ledger_watch SET guards = %s", (guards,))


async def _patrol(
    cursor: psycopg.AsyncCursor[dict[str, Any]],
    state: dict[str, Any],
    verified: int,
    movements: int,
    found: list[Violation],
) -> tuple[int, int]:
    """Look at the next slice of movements verified in earlier runs; start again after the last one."""
    after = state["patrol_movement_id"] if state["patrol_movement_id"] < state["movement_id"] else 0
    upto = min(after + movements, state["movement_id"])
    if upto <= after:
        return 0, 0
    found += await _violations(cursor, statements.SLICE_OF_OLD, after=after, upto=upto)
    counted = await _one(
        cursor,
        "SELECT count(*) AS n FROM entries WHERE id > %(after)s AND id <= %(upto)s",
        after=2 * after,
        upto=2 * upto,
    )
    assert upto <= verified
    return upto, counted["n"]


async def _patrol_accounts(
    cursor: psycopg.AsyncCursor[dict[str, Any]], after: int, accounts: int, found: list[Violation]
) -> int:
    """Compare the next accounts with what was verified; return the last one's id, 0 after the last of all."""
    if accounts == 0:
        return after
    following = await _one(cursor, statements.ACCOUNTS_AFTER, after=after, accounts=accounts)
    last = following["accounts"] < accounts
    upto = _LAST_ID if last else following["last"]
    found += await _violations(cursor, statements.ACCOUNTS, after=after, upto=upto)
    return 0 if last else upto


async def _violations(
    cursor: psycopg.AsyncCursor[dict[str, Any]], statement: str, **parameters: int
) -> list[Violation]:
    await cursor.execute(statement.encode(), {"most": VIOLATIONS_MAX, **parameters})
    return [violation_of(row) for row in await cursor.fetchall()]


async def _totals(cursor: psycopg.AsyncCursor[dict[str, Any]]) -> tuple[tuple[CurrencyTotals, ...], int]:
    await cursor.execute(statements.TOTALS.encode())
    rows = await cursor.fetchall()
    totals = (
        CurrencyTotals(currency=row["currency"], debits_minor=row["debits_minor"], credits_minor=row["credits_minor"])
        for row in rows
    )
    return tuple(totals), sum(row["entries"] for row in rows)


async def _one(cursor: psycopg.AsyncCursor[dict[str, Any]], statement: str, **parameters: int) -> dict[str, Any]:
    await cursor.execute(statement.encode(), parameters)
    row = await cursor.fetchone()
    assert row is not None
    return row


@contextlib.asynccontextmanager
async def _turn(connection: AsyncConnection) -> AsyncIterator[None]:
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await connection.execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'".encode())
        try:
            await connection.execute(statements.TURN)
        except psycopg.errors.LockNotAvailable as error:
            raise WatchBusyError("another run of the invariant watch is under way") from error
        yield


def _distinct(found: list[Violation]) -> tuple[Violation, ...]:
    return tuple(dict.fromkeys(found))


def _age_seconds(now: datetime, since: datetime | None) -> float:
    return max((now - since).total_seconds(), 0.0) if since is not None else 0.0
