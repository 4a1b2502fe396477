"""Proving the books: every rule that must hold between movements, entries, balances and holds.

All rules are checked in one statement, so in one snapshot. Decides what a violation is; what is done
about one (alarm, stop of payouts) is decided by whoever asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from ledger.balances import CurrencyTotals

VIOLATIONS_MAX = 1000
"""More are not listed: the first thousand are enough to know that the books are broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One rule broken. `account` is a code, `entry` an entry's public id, where the rule has one.

    `currency` is None where a violation touches no known currency.
    """

    kind: str
    account: str | None
    entry: str | None
    detail: str
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksReport:
    """What a check found. Currency totals are sums of debit and credit *entries* (not balances)."""

    checked_at: datetime
    entries_checked: int
    currencies: tuple[CurrencyTotals, ...]
    violations: tuple[Violation, ...]

    @property
    def ok(self) -> bool:
        """Whether every rule held."""
        return not self.violations


_SIGNED = "CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END"
_TOTALS = """
    SELECT clock_timestamp() AS now, a.currency, count(e.id) AS entries,
        coalesce(sum(e.amount_minor) FILTER (WHERE e.direction = 'debit'), 0)::bigint AS debits,
        coalesce(sum(e.amount_minor) FILTER (WHERE e.direction = 'credit'), 0)::bigint AS credits
    FROM (SELECT) one LEFT JOIN entries e ON true LEFT JOIN accounts a ON a.id = e.account_id
    GROUP BY a.currency ORDER BY a.currency
"""
_VIOLATIONS = f"""
    WITH carried AS (
        SELECT DISTINCT ON (account_id) account_id, balance_minor, sequence FROM carried_balances
        ORDER BY account_id, carried_at DESC
    ), run AS (
        SELECT e.*, {_SIGNED} AS signed,
            coalesce(lag(e.balance_minor) OVER w, c.balance_minor, 0) AS balance_before,
            coalesce(lag(e.sequence) OVER w, c.sequence, 0) AS sequence_before,
            lag(e.recorded_at) OVER w AS recorded_before
        FROM entries e LEFT JOIN carried c ON c.account_id = e.account_id
        WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence, e.id)
    ), sums AS (
        SELECT account_id, sum(posted) AS posted, sum(entries) AS entries, max(last_entry) AS last_entry FROM (
            SELECT account_id, sum(signed) AS posted, count(*) AS entries, max(id) AS last_entry
            FROM run GROUP BY account_id
            UNION ALL SELECT account_id, balance_minor, sequence, NULL FROM carried) s GROUP BY account_id
    ), holding AS (
        SELECT account_id, sum(debits) AS debits, sum(credits) AS credits FROM (
            SELECT debit_account_id AS account_id, remaining_minor AS debits, 0::bigint AS credits FROM holds
            UNION ALL SELECT credit_account_id, 0, remaining_minor FROM holds) h GROUP BY account_id
    ), found AS MATERIALIZED (
    -- Planned as a whole: with the limit in sight the planner would count on many violations and take nested loops.
    SELECT 'currency_unbalanced' AS kind, NULL AS account, NULL::bigint AS entry, m.currency,
        m.currency || ' entries sum to ' || sum(r.signed) AS detail
    FROM run r JOIN movements m ON m.id = r.movement_id GROUP BY m.currency HAVING sum(r.signed) <> 0
    UNION ALL
    SELECT 'balance_mismatch', a.code, s.last_entry, a.currency,
        'balance ' || a.balance_minor || ', entries sum to ' || coalesce(s.posted, 0)
    FROM accounts a LEFT JOIN sums s ON s.account_id = a.id WHERE a.balance_minor <> coalesce(s.posted, 0)
    UNION ALL
    SELECT 'entry_count_mismatch', a.code, s.last_entry, a.currency,
        'version ' || a.version || ', entries ' || coalesce(s.entries, 0)
    FROM accounts a LEFT JOIN sums s ON s.account_id = a.id WHERE a.version <> coalesce(s.entries, 0)
    UNION ALL
    SELECT 'running_balance_mismatch', a.code, r.id, a.currency,
        'balance ' || r.balance_minor || ' after ' || r.balance_before || ' and ' || r.signed
    FROM run r LEFT JOIN accounts a ON a.id = r.account_id WHERE r.balance_minor <> r.balance_before + r.signed
    UNION ALL
    SELECT 'sequence_gap', a.code, r.id, a.currency, 'sequence ' || r.sequence || ' after ' || r.sequence_before
    FROM run r LEFT JOIN accounts a ON a.id = r.account_id WHERE r.sequence <> r.sequence_before + 1
    UNION ALL
    SELECT 'time_order_broken', a.code, r.id, a.currency, r.recorded_at || ' after ' || r.recorded_before
    FROM run r LEFT JOIN accounts a ON a.id = r.account_id WHERE r.recorded_at <= r.recorded_before
    UNION ALL
    SELECT 'entry_without_account', NULL, e.id, m.currency, 'account ' || e.account_id
    FROM entries e LEFT JOIN movements m ON m.id = e.movement_id
    WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.id = e.account_id)
    UNION ALL
    SELECT 'entry_without_movement', a.code, e.id, coalesce(m.currency, a.currency), 'movement ' || e.movement_id
    FROM entries e LEFT JOIN accounts a ON a.id = e.account_id LEFT JOIN movements m ON m.id = e.movement_id
    WHERE m.id IS NULL OR m.amount_minor <> e.amount_minor OR m.recorded_at <> e.recorded_at
        OR m.effective_at <> e.effective_at OR m.phase IN ('hold', 'void_hold')
        OR e.id <> CASE e.direction WHEN 'debit' THEN 2 * m.id - 1 ELSE 2 * m.id END
        OR e.account_id <> CASE e.direction WHEN 'debit' THEN m.debit_account_id ELSE m.credit_account_id END
    UNION ALL
    SELECT 'movement_entries_wrong', a.code, leg.entry, m.currency,
        'movement ' || m.key || ' (' || m.phase || ') has no such ' || leg.direction || ' entry'
    FROM movements m CROSS JOIN LATERAL (VALUES (2 * m.id - 1, m.debit_account_id, 'debit'),
        (2 * m.id, m.credit_account_id, 'credit')) leg (entry, account_id, direction)
    LEFT JOIN entries e ON e.id = leg.entry LEFT JOIN accounts a ON a.id = leg.account_id
    WHERE m.phase NOT IN ('hold', 'void_hold') AND e.id IS NULL
    UNION ALL
    SELECT 'movement_currency_wrong', a.code, CASE a.id WHEN m.debit_account_id THEN 2 * m.id - 1 ELSE 2 * m.id END,
        a.currency, 'movement ' || m.id || ' in ' || m.currency
    FROM movements m JOIN accounts a ON a.id IN (m.debit_account_id, m.credit_account_id)
    WHERE a.currency <> m.currency
    UNION ALL
    SELECT 'pending_mismatch', a.code, NULL, a.currency, 'pending ' || a.pending_debits_minor || ' / '
        || a.pending_credits_minor || ', holds ' || coalesce(h.debits, 0) || ' / ' || coalesce(h.credits, 0)
    FROM accounts a LEFT JOIN holding h ON h.account_id = a.id
    WHERE (a.pending_debits_minor, a.pending_credits_minor) <> (coalesce(h.debits, 0), coalesce(h.credits, 0))
    ) SELECT * FROM found LIMIT {VIOLATIONS_MAX}
"""


async def check_books(connection: AsyncConnection) -> BooksReport:
    """Return every violation in the whole book; run it with a role that sees all of it. Reads only.

    Cost grows with the book (a full read of entries and movements).
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_TOTALS.encode())
        totals = await cursor.fetchall()
        await cursor.execute(_VIOLATIONS.encode())
        violations = await cursor.fetchall()
    return BooksReport(
        checked_at=totals[0]["now"],
        entries_checked=sum(row["entries"] for row in totals),
        currencies=tuple(
            CurrencyTotals(currency=row["currency"], debits_minor=row["debits"], credits_minor=row["credits"])
            for row in totals
            if row["currency"] is not None
        ),
        violations=tuple(violation_of(row) for row in violations),
    )


def violation_of(row: Mapping[str, Any]) -> Violation:
    """Return a violation as the checks' statements select it: kind, account, entry (a number), currency, detail."""
    return Violation(
        kind=row["kind"],
        account=row["account"],
        entry=None if row["entry"] is None else f"le_{row['entry']:016d}",
        detail=row["detail"],
        currency=row["currency"],
    )
