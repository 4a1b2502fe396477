"""An account's statement: what was on it, what happened between two instants, what was on it then.

By recorded time a statement of the past is final. By effective time it shows the same movements where
they count from, each with the balance on that axis, and a later backdated movement changes it.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from ledger.balances import Axis, Balance, EntryRow, balance_at, entry_rows

LIMIT_NONE = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A page of an account's entries between two instants (from excluded, to included), oldest first.

    `opening` and `closing` are of the whole period; `entry_count` and `moved_minor` (credits less debits)
    too. On the effective axis an entry's balance is the one on that axis.
    """

    opening: Balance
    closing: Balance
    entries: tuple[EntryRow, ...]
    entry_count: int
    moved_minor: int
    has_more: bool


# Entries dated as recorded are found by one index, the few others by the index made for them.
_WITHIN = {
    Axis.RECORDED: "e.recorded_at > %(start)s AND e.recorded_at <= %(end)s",
    Axis.EFFECTIVE: (
        "((e.effective_at = e.recorded_at AND e.recorded_at > %(start)s AND e.recorded_at <= %(end)s)"
        " OR (e.effective_at <> e.recorded_at AND e.effective_at > %(start)s AND e.effective_at <= %(end)s))"
    ),
}
_TOTALS = """
    SELECT count(*) AS entries,
        coalesce(sum(CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END), 0)::bigint AS moved
    FROM accounts a JOIN entries e ON e.account_id = a.id WHERE a.code = %(code)s AND {within}
"""
_PAGE = {
    Axis.RECORDED: """
        SELECT e.id, e.balance_minor FROM accounts a JOIN entries e ON e.account_id = a.id
        WHERE a.code = %(code)s AND {within}
            AND e.recorded_at > coalesce((SELECT b.recorded_at FROM entries b WHERE b.id = %(after)s), '-infinity')
        ORDER BY e.recorded_at LIMIT %(limit)s
    """,
    Axis.EFFECTIVE: """
        SELECT counted.id, counted.balance_minor FROM (
            SELECT e.id, e.effective_at, (%(opening)s + sum(CASE e.direction WHEN 'credit' THEN e.amount_minor
                ELSE -e.amount_minor END) OVER (ORDER BY e.effective_at, e.id))::bigint AS balance_minor
            FROM accounts a JOIN entries e ON e.account_id = a.id WHERE a.code = %(code)s AND {within}
        ) counted
        WHERE (counted.effective_at, counted.id) > (coalesce((SELECT b.effective_at FROM entries b
            WHERE b.id = %(after)s), '-infinity'), coalesce(%(after)s, 0))
        ORDER BY counted.effective_at, counted.id LIMIT %(limit)s
    """,
}


async def statement(
    connection: AsyncConnection,
    code: str,
    start: datetime,
    end: datetime | None = None,
    axis: Axis = Axis.RECORDED,
    *,
    limit: int = LIMIT_NONE - 1,
    after: int | None = None,
) -> Statement | None:
    """Return what happened to an account after `start` up to `end`; None when there is no such account.

    `end` is now when not given. At most `limit` entries, those after entry number `after` if given.
    Opening balance plus everything moved is the closing balance: asserted by recorded time, where no
    commit can come between the reads. Reads only.
    """
    end = end or await _now(connection)
    closing = await balance_at(connection, code, end, axis)
    opening = await balance_at(connection, code, start, axis)
    if opening is None or closing is None:
        return None
    within = _WITHIN[axis]
    parameters: dict[str, Any] = {
        "code": code,
        "start": opening.at,
        "end": closing.at,
        "after": after,
        "limit": limit + 1,
        "opening": opening.posted_minor,
    }
    ((count, moved),) = await _rows(connection, _TOTALS.format(within=within), parameters)
    if axis is Axis.RECORDED:
        assert opening.posted_minor + moved == closing.posted_minor, f"statement of {code} does not add up"
    page = await _rows(connection, _PAGE[axis].format(within=within), parameters)
    rows = {row.number: row for row in await entry_rows(connection, code, [number for number, _ in page[:limit]])}
    return Statement(
        opening=opening,
        closing=closing,
        entries=tuple(replace(rows[number], balance_minor=balance) for number, balance in page[:limit]),
        entry_count=count,
        moved_minor=moved,
        has_more=len(page) > limit,
    )


async def _now(connection: AsyncConnection) -> datetime:
    ((now,),) = await _rows(connection, "SELECT greatest(clock_timestamp(), ledger_watermark())", {})
    assert isinstance(now, datetime)
    return now


async def _rows(connection: AsyncConnection, query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchall()
