"""What safeguarding reads: sums of balances at an instant, banks' statements, what was found before. Reads only.

Every figure is of an instant that is over (`balances.settled_instant`), and statements count as known from when the
ledger recorded them, so the same question has the same answer at any later time. Functions take a connection in
autocommit or in a READ COMMITTED transaction, of a role that sees everything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from domain.identifiers import Mode
from domain.safeguarding import AccountSum, BankComparison, Document, Position
from domain.safeguarding_breaks import Break
from ledger.balances import LAST_ENTRY
from ledger.chart import safeguarding

# The ledger's own accounts are named {role}[:{detail}]:{currency}:{mode}.
_SUMS = f"""
    SELECT coalesce(a.mode, split_part(a.code, ':', -1)) AS mode, a.currency, a.merchant_id IS NOT NULL AS owned,
        a.kind, CASE WHEN a.merchant_id IS NULL AND split_part(a.code, ':', 4) <> '' THEN split_part(a.code, ':', 2)
            ELSE '' END AS detail,
        coalesce(sum(last.balance_minor) FILTER (WHERE last.balance_minor > 0), 0)::bigint AS positive_minor,
        coalesce(sum(last.balance_minor) FILTER (WHERE last.balance_minor < 0), 0)::bigint AS negative_minor,
        count(*) AS accounts
    FROM accounts a {LAST_ENTRY}
    WHERE a.created_at <= %(at)s AND coalesce(a.mode, split_part(a.code, ':', -1)) = %(mode)s
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""
# The latest of each account that no other one, known by then, corrects.
_STATEMENTS = """
    SELECT DISTINCT ON (s.mode, s.document ->> 'currency', s.document ->> 'bank') s.id, s.mode,
        s.document ->> 'currency' AS currency, s.document ->> 'bank' AS bank,
        (s.document ->> 'as_of')::timestamptz AS as_of, (s.document ->> 'closing_balance')::bigint AS closing_minor,
        s.document ->> 'statement_id' AS statement_id
    FROM safeguarding_statements s
    WHERE s.mode = %(mode)s AND s.updated_at <= %(at)s AND (s.document ->> 'as_of')::timestamptz <= %(at)s
        AND (s.document ->> 'as_of')::timestamptz > %(oldest)s
        AND NOT EXISTS (SELECT FROM safeguarding_statements c
            WHERE c.document ->> 'corrects' = s.id AND c.updated_at <= %(at)s)
    ORDER BY s.mode, s.document ->> 'currency', s.document ->> 'bank', as_of DESC, s.updated_at DESC, s.id DESC
"""
# What an account's balance was by business date, as far as the books knew at a later instant.
_AS_KNOWN = f"""
    SELECT coalesce(last.balance_minor, 0) + coalesce((
        SELECT sum(CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END
            * CASE WHEN e.effective_at <= %(at)s THEN 1 ELSE -1 END)
        FROM entries e WHERE e.account_id = a.id AND e.effective_at <> e.recorded_at AND e.recorded_at <= %(known_at)s
            AND (e.effective_at <= %(at)s) <> (e.recorded_at <= %(at)s)), 0)::bigint AS minor
    FROM accounts a {LAST_ENTRY} WHERE a.code = %(code)s
"""
_HAS_LINE = """
    SELECT FROM safeguarding_statements s WHERE s.id = %(id)s AND s.document -> 'lines' @> %(line)s::jsonb
"""
_LAST_BREAK = """
    SELECT document, version, (internal ->> 'change')::integer AS change FROM safeguarding_breaks
    WHERE document ->> 'scope' = %(scope)s ORDER BY change DESC LIMIT 1
"""
_OF_INSTANT = """
    SELECT document FROM safeguarding_reconciliations WHERE mode = %(mode)s AND created_at = %(at)s
        AND updated_at >= %(at)s ORDER BY id
"""
# Every currency is in every run, so those of the last weeks are enough.
_LATEST = """
    SELECT DISTINCT ON (mode, document ->> 'currency') document FROM safeguarding_reconciliations
    WHERE updated_at > (SELECT max(updated_at) FROM safeguarding_reconciliations) - interval '31 days'
    ORDER BY mode, document ->> 'currency', created_at DESC
"""
_OPEN = """
    SELECT mode, document ->> 'currency' AS currency, document ->> 'kind' AS kind, count(*) AS breaks,
        min((document ->> 'opened_at')::timestamptz) AS oldest_at
    FROM safeguarding_breaks WHERE status = 'open' GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedStatement:
    """The statement of a bank account that counts at an instant; the balance is in minor units, ours if positive."""

    id: str
    mode: str
    currency: str
    bank: str
    as_of: datetime
    closing_minor: int
    statement_id: str


async def positions_at(
    connection: AsyncConnection, mode: Mode, at: datetime, *, statement_age_max: timedelta
) -> list[Position]:
    """Return every currency's position at a settled instant, by currency. Costs a look-up for each account.

    Statements older than `statement_age_max` at the instant don't count.
    """
    asked = {"at": at, "mode": mode.value, "oldest": at - statement_age_max}
    sums = [AccountSum(**{**row, "mode": mode}) for row in await _rows(connection, _SUMS, asked)]
    statements = [UsedStatement(**row) for row in await _rows(connection, _STATEMENTS, asked)]
    positions = []
    for currency in sorted({one.currency for one in sums} | {one.currency for one in statements}):
        of_currency = tuple(one for one in sums if one.currency == currency)
        given = [one for one in statements if one.currency == currency]
        banks = await _banks(connection, of_currency, given, at)
        positions.append(Position(mode=mode, currency=currency, at=at, sums=of_currency, banks=banks))
    return positions


async def _banks(
    connection: AsyncConnection, sums: Iterable[AccountSum], statements: Iterable[UsedStatement], at: datetime
) -> tuple[BankComparison, ...]:
    """Return the comparison of each bank account that the books or a statement know, by bank."""
    kept = {one.detail: one for one in sums if not one.owned and one.kind == "safeguarding"}
    given = {one.bank: one for one in statements}
    compared = []
    for bank in sorted(kept.keys() | given.keys()):
        statement = given.get(bank)
        if statement is None:
            one = kept[bank]
            code = safeguarding(bank, one.currency, one.mode)
            compared.append(BankComparison(bank=bank, account=code, books_minor=-one.net_minor, books_at=at))
            continue
        code = safeguarding(bank, statement.currency, Mode(statement.mode))
        books = -await balance_as_known(connection, code, statement.as_of, known_at=at)
        difference = statement.closing_minor - books
        compared.append(
            BankComparison(
                bank=bank,
                account=code,
                books_minor=books,
                books_at=statement.as_of,
                statement=statement.id,
                statement_id=statement.statement_id,
                closing_minor=statement.closing_minor,
                line_of_difference=bool(difference) and await has_line(connection, statement.id, difference),
            )
        )
    return tuple(compared)


async def balance_as_known(connection: AsyncConnection, code: str, at: datetime, *, known_at: datetime) -> int:
    """Return an account's balance by business date at `at`, by what was recorded until `known_at`; minor units.

    Both instants are settled, `at` is not the later one, so the answer is final. 0 for an account that is not open.
    """
    assert at <= known_at
    rows = await _rows(connection, _AS_KNOWN, {"code": code, "at": at, "known_at": known_at})
    return int(rows[0]["minor"]) if rows else 0


async def has_line(connection: AsyncConnection, statement: str, amount_minor: int) -> bool:
    """Tell whether a statement has a line of exactly this amount (minor units, negative: taken from the account)."""
    line = f'[{{"amount": {int(amount_minor)}}}]'
    return bool(await _rows(connection, _HAS_LINE, {"id": statement, "line": line}))


async def last_break(connection: AsyncConnection, scope: str) -> Break | None:
    """Return a scope's latest break, open or not."""
    rows = await _rows(connection, _LAST_BREAK, {"scope": scope})
    return Break(**rows[0]) if rows else None


async def reconciliations_of(connection: AsyncConnection, mode: Mode, at: datetime) -> list[Document]:
    """Return the reconciliations of an instant, by currency."""
    rows = await _rows(connection, _OF_INSTANT, {"mode": mode.value, "at": at})
    return [row["document"] for row in rows]


async def latest_reconciliations(connection: AsyncConnection) -> list[Document]:
    """Return the last reconciliation of each mode and currency."""
    return [row["document"] for row in await _rows(connection, _LATEST, {})]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreaks:
    """How many breaks of a kind are open in a currency of a mode, and since when the oldest is."""

    mode: str
    currency: str
    kind: str
    breaks: int
    oldest_at: datetime


async def open_breaks(connection: AsyncConnection) -> list[OpenBreaks]:
    """Return what is open, counted."""
    return [OpenBreaks(**row) for row in await _rows(connection, _OPEN, {})]


async def committed_keys(connection: AsyncConnection, keys: Sequence[str]) -> set[str]:
    """Return which of these posting keys were committed."""
    sql = "SELECT key FROM ledger_transactions WHERE key = ANY(%(keys)s)"
    return {row["key"] for row in await _rows(connection, sql, {"keys": list(keys)})}


async def book_was_empty(connection: AsyncConnection, at: datetime) -> bool:
    """Tell whether there was no account yet at an instant."""
    return not await _rows(connection, "SELECT FROM accounts WHERE created_at <= %(at)s LIMIT 1", {"at": at})


async def _rows(connection: AsyncConnection, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchall()
