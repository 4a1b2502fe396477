"""Reading the books: balances now and at any instant, entries, the trial balance.

An answer about a past instant never changes: recorded instants rise in commit order, and an instant
later than the last one recorded is first made one at or before which nothing can be recorded any more
(the *watermark*, see `settled_instant`). Functions take a connection in autocommit or in a READ COMMITTED
transaction (not a longer-lived snapshot) and show what its role may see. `at` in an answer is the
instant the answer is about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from domain.identifiers import Mode

_ARCHIVED = "LL002"


class ArchivedError(Exception):
    """The instant asked about is in a period that left the book. Not retryable."""


class Axis(StrEnum):
    """Which time an instant is on: when the ledger recorded it, or when it counts from in business."""

    RECORDED = "recorded"
    EFFECTIVE = "effective"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """An account at an instant, in minor units; `available` is posted less what is held of it.

    `account` is the code; `version` counts the account's entries. Up to `watermark`, never earlier than `at`,
    nothing more can be recorded: it tells until when a later question has a final answer already.
    """

    account: str
    currency: str
    posted_minor: int
    pending_debits_minor: int
    pending_credits_minor: int
    at: datetime
    version: int
    watermark: datetime = field(compare=False)

    @property
    def available_minor(self) -> int:
        """What may be spent: pending credits don't count (semantics rule 23)."""
        return self.posted_minor - self.pending_debits_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """One entry of an account with what moved it. `balance_minor` is the account's right after it."""

    number: int
    account: str
    sequence: int
    direction: str
    amount_minor: int
    currency: str
    balance_minor: int
    recorded_at: datetime
    effective_at: datetime
    movement_key: str
    kind: str
    reference: str

    @property
    def id(self) -> str:
        """The public id: sorts by time."""
        return f"le_{self.number:016d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyTotals:
    """Sums of debit and credit balances in one currency; `delta_minor` is 0 in a whole book."""

    currency: str
    debits_minor: int
    credits_minor: int

    @property
    def delta_minor(self) -> int:
        """Debits less credits."""
        return self.debits_minor - self.credits_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """Every visible account's posted balance at one instant, by code, and the totals by currency."""

    at: datetime
    currencies: tuple[CurrencyTotals, ...]
    accounts: tuple[tuple[str, str, int], ...]
    """(code, currency, posted in minor units)."""


LAST_ENTRY = """
    LEFT JOIN LATERAL (SELECT told.balance_minor, told.sequence FROM (
        (SELECT e.balance_minor, e.sequence FROM entries e
            WHERE e.account_id = a.id AND e.recorded_at <= %(at)s ORDER BY e.recorded_at DESC LIMIT 1)
        UNION ALL
        (SELECT c.balance_minor, c.sequence FROM carried_balances c
            WHERE c.account_id = a.id AND c.carried_at <= %(at)s ORDER BY c.carried_at DESC LIMIT 1)
        ) told ORDER BY told.sequence DESC LIMIT 1) last ON true
"""
"""Joins to accounts `a` the balance after their last entry up to `at`, as `last`: found in the partition of its
instant, or carried over from archived ones."""

_NOW = """
    SELECT a.code AS account, a.currency, a.balance_minor AS posted_minor, a.pending_debits_minor,
        a.pending_credits_minor, a.version, c.last_recorded_at AS at, c.last_recorded_at AS watermark
    FROM accounts a, ledger_clock c WHERE a.code = %(code)s
"""
_AT = f"""
    SELECT a.code AS account, a.currency, coalesce(last.balance_minor, 0) AS posted_minor,
        coalesce(held.pending_debits_minor, 0) AS pending_debits_minor,
        coalesce(held.pending_credits_minor, 0) AS pending_credits_minor,
        coalesce(last.sequence, 0) AS version, %(at)s::timestamptz AS at,
        greatest(%(at)s, ledger_watermark()) AS watermark
    FROM accounts a {LAST_ENTRY}
    LEFT JOIN LATERAL (SELECT h.pending_debits_minor, h.pending_credits_minor FROM hold_changes h
        WHERE h.account_id = a.id AND h.recorded_at <= %(at)s ORDER BY h.recorded_at DESC LIMIT 1) held ON true
    WHERE a.code = %(code)s
"""
# Few entries are dated otherwise than recorded: correct the balance by those on the other side of the instant.
_EFFECTIVE_CORRECTION = """
    SELECT coalesce(sum(CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END
        * CASE WHEN e.effective_at <= %(at)s THEN 1 ELSE -1 END), 0)::bigint AS minor
    FROM entries e JOIN accounts a ON a.id = e.account_id
    WHERE a.code = %(code)s AND e.effective_at <> e.recorded_at
        AND (e.effective_at <= %(at)s) <> (e.recorded_at <= %(at)s)
"""
_ENTRIES = """
    SELECT e.id AS number, a.code AS account, e.sequence, e.direction, e.amount_minor, a.currency, e.balance_minor,
        e.recorded_at, e.effective_at, m.key AS movement_key, m.kind, m.reference
    FROM accounts a JOIN entries e ON e.account_id = a.id
    JOIN movements m ON m.id = e.movement_id AND m.recorded_at = e.recorded_at
    WHERE a.code = %(code)s
"""


async def balance_at(
    connection: AsyncConnection, code: str, at: datetime | None = None, axis: Axis = Axis.RECORDED
) -> Balance | None:
    """Return an account's balance, now (None) or at an instant; None when there is no such account.

    By recorded time it is one index look-up and final: asked again, it is the same for ever. By
    effective time a later entry may be dated back before `at`. An instant in the future is answered
    as of now; `Balance.at` says so. Reads only.

    Raises:
        ArchivedError: `at` is before the book begins. Not retryable.
    """
    if at is None:
        return _balance(await _row(connection, _NOW, {"code": code}))
    at = await settled_instant(connection, at)
    parameters = {"code": code, "at": at}
    row = await _row(connection, _AT, parameters)
    if row is not None and axis is Axis.EFFECTIVE:
        correction = await _row(connection, _EFFECTIVE_CORRECTION, parameters)
        assert correction is not None
        row["posted_minor"] += correction["minor"]
    return _balance(row)


async def settled_instant(connection: AsyncConnection, at: datetime) -> datetime:
    """Return `at`, or now if that is earlier, once nothing more can be recorded at or before it.

    Waits for one batch at most, and writes the promise, only when `at` is later than the last instant
    recorded. The promise holds even if the database's clock steps back afterwards. Idempotent.

    Raises:
        ArchivedError: `at` is before the book begins. Not retryable.
    """
    assert at.tzinfo is not None, "instants carry a time zone"
    try:
        row = await _row(connection, "SELECT settle_ledger(%(at)s) AS settled", {"at": at})
    except psycopg.DatabaseError as error:
        if error.sqlstate != _ARCHIVED:
            raise
        raise ArchivedError(error.diag.message_primary) from error
    assert row is not None
    settled: datetime = row["settled"]
    assert settled <= at
    return settled


async def watermark(connection: AsyncConnection) -> datetime:
    """Return the instant up to which nothing more can be recorded, as the next statement sees the book. Reads only."""
    row = await _row(connection, "SELECT ledger_watermark() AS watermark", {})
    assert row is not None
    found: datetime = row["watermark"]
    return found


async def account_entries(
    connection: AsyncConnection, code: str, *, limit: int = 10, before: int | None = None
) -> list[EntryRow]:
    """Return an account's entries, newest first, at most `limit`; those before entry number `before` if given."""
    bound = " AND e.recorded_at < (SELECT b.recorded_at FROM entries b WHERE b.id = %(before)s)" if before else ""
    rows = await _rows(
        connection,
        f"{_ENTRIES}{bound} ORDER BY e.recorded_at DESC LIMIT %(limit)s",
        {"code": code, "limit": limit, "before": before},
    )
    return [EntryRow(**row) for row in rows]


async def entry_rows(connection: AsyncConnection, code: str, numbers: Sequence[int]) -> list[EntryRow]:
    """Return the entries of an account with these numbers, in any order. Reads only."""
    rows = await _rows(connection, f"{_ENTRIES} AND e.id = ANY(%(numbers)s)", {"code": code, "numbers": list(numbers)})
    return [EntryRow(**row) for row in rows]


async def trial_balance(connection: AsyncConnection, at: datetime | None = None) -> TrialBalance:
    """Return the balances of all visible accounts, now or at an instant, in one snapshot. Reads only."""
    if at is None:
        rows = await _rows(
            connection,
            "SELECT a.code, a.currency, a.balance_minor AS posted, c.last_recorded_at AS at"
            " FROM ledger_clock c LEFT JOIN accounts a ON true ORDER BY a.code",
            {},
        )
    else:
        rows = await _rows(
            connection,
            "SELECT a.code, a.currency, coalesce(last.balance_minor, 0) AS posted, %(at)s::timestamptz AS at"
            f" FROM (SELECT) one LEFT JOIN accounts a ON a.created_at <= %(at)s {LAST_ENTRY} ORDER BY a.code",
            {"at": await settled_instant(connection, at)},
        )
    accounts = tuple((row["code"], row["currency"], row["posted"]) for row in rows if row["code"] is not None)
    totals = (
        CurrencyTotals(
            currency=currency,
            debits_minor=sum(-posted for _, of, posted in accounts if of == currency and posted < 0),
            credits_minor=sum(posted for _, of, posted in accounts if of == currency and posted > 0),
        )
        for currency in sorted({currency for _, currency, _ in accounts})
    )
    return TrialBalance(at=rows[0]["at"], currencies=tuple(totals), accounts=accounts)


async def merchant_totals(
    connection: AsyncConnection, merchant_id: str, mode: Mode, at: datetime
) -> tuple[CurrencyTotals, ...]:
    """Return what a merchant's own movements debited and credited by an instant, both legs of each. Reads only.

    A merchant sees only its own accounts, whose balances cannot sum to zero; its movements do.
    """
    rows = await _rows(
        connection,
        "SELECT m.currency, sum(e.amount_minor) FILTER (WHERE e.direction = 'debit')::bigint AS debits_minor,"
        " sum(e.amount_minor) FILTER (WHERE e.direction = 'credit')::bigint AS credits_minor"
        " FROM ledger_transactions t JOIN movements m ON m.ledger_transaction_id = t.id"
        " JOIN entries e ON e.id IN (2 * m.id - 1, 2 * m.id) AND e.recorded_at = m.recorded_at"
        " WHERE t.merchant_id = %(merchant)s AND t.mode = %(mode)s AND e.recorded_at <= %(at)s"
        " GROUP BY m.currency ORDER BY m.currency",
        {"merchant": merchant_id, "mode": mode.value, "at": at},
    )
    return tuple(CurrencyTotals(**row) for row in rows)


def _balance(row: dict[str, Any] | None) -> Balance | None:
    return None if row is None else Balance(**row)


async def _row(connection: AsyncConnection, query: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    rows = await _rows(connection, query, parameters)
    return rows[0] if rows else None


async def _rows(connection: AsyncConnection, query: str, parameters: dict[str, Any]) -> Sequence[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchall()
