"""The books as they are, read with SQL, and what must hold inside them whoever looks."""

from collections import Counter
from typing import Any

import psycopg

from tests.simulation.auditor import Account, Effect

INVARIANTS = {
    "debits and credits differ": """
        SELECT a.currency, e.direction, sum(e.amount_minor) FROM entries e JOIN accounts a ON a.id = e.account_id
        WHERE a.currency IN (
            SELECT b.currency FROM entries f JOIN accounts b ON b.id = f.account_id GROUP BY b.currency
            HAVING sum(CASE f.direction WHEN 'credit' THEN f.amount_minor ELSE -f.amount_minor END) <> 0)
        GROUP BY a.currency, e.direction""",
    "a balance is not the sum of its entries": """
        SELECT a.code, a.balance_minor, a.version, count(e.id),
            coalesce(sum(CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END), 0)
        FROM accounts a LEFT JOIN entries e ON e.account_id = a.id GROUP BY a.id
        HAVING a.balance_minor
            <> coalesce(sum(CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END), 0)
            OR a.version <> count(e.id)""",
    "a running balance is wrong": """
        SELECT * FROM (
            SELECT account_id, sequence, balance_minor, recorded_at,
                sum(CASE direction WHEN 'credit' THEN amount_minor ELSE -amount_minor END) OVER by_sequence AS computed,
                row_number() OVER by_sequence AS place, lag(recorded_at) OVER by_sequence AS before
            FROM entries WINDOW by_sequence AS (PARTITION BY account_id ORDER BY sequence)) e
        WHERE balance_minor <> computed OR place <> sequence OR before >= recorded_at""",
    "a movement has not one debit and one credit of its amount": """
        SELECT m.key, m.phase, count(e.id) FROM movements m LEFT JOIN entries e ON e.movement_id = m.id
        GROUP BY m.id, m.key, m.phase, m.amount_minor
        HAVING count(e.id) <> CASE WHEN m.phase IN ('hold', 'void_hold') THEN 0 ELSE 2 END
            OR (count(e.id) = 2 AND (count(*) FILTER (WHERE e.direction = 'debit') <> 1
                OR min(e.amount_minor) <> m.amount_minor OR max(e.amount_minor) <> m.amount_minor))""",
    "an entry belongs to no movement": """
        SELECT e.id FROM entries e LEFT JOIN movements m ON m.id = e.movement_id WHERE m.id IS NULL""",
    "pending sums are not the open holds": """
        SELECT a.code, a.pending_debits_minor, a.pending_credits_minor FROM accounts a
        WHERE a.pending_debits_minor <> coalesce((SELECT sum(h.remaining_minor) FROM holds h
                WHERE h.debit_account_id = a.id AND h.status = 'open'), 0)
            OR a.pending_credits_minor <> coalesce((SELECT sum(h.remaining_minor) FROM holds h
                WHERE h.credit_account_id = a.id AND h.status = 'open'), 0)""",
    "a merchant's event sequence has a gap": """
        SELECT merchant_id, mode, count(*), max(sequence) FROM events GROUP BY merchant_id, mode
        HAVING count(*) <> max(sequence) OR min(sequence) <> 1""",
    "an event's object went backwards": """
        SELECT * FROM (
            SELECT object_id, object_version,
                lag(object_version) OVER (PARTITION BY object_id ORDER BY sequence) AS before
            FROM events) e
        WHERE before >= object_version""",
    "the audit chain is broken": """
        SELECT * FROM (
            SELECT sequence, previous_hash, lag(record_hash) OVER (ORDER BY sequence) AS before,
                row_number() OVER (ORDER BY sequence) AS place FROM audit_records) r
        WHERE place <> sequence OR (before IS NOT NULL AND before <> previous_hash)""",
    "money in transit below zero": """
        SELECT code, balance_minor FROM accounts WHERE code LIKE 'payouts_in_transit:%' AND balance_minor < 0""",
}


class Books:
    """One look at the whole book, as the worker's database role."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def violations(self) -> list[str]:
        """Return every invariant that does not hold, with the rows that show it."""
        found = []
        for name, query in INVARIANTS.items():
            rows = self._rows(query)
            if rows:
                found.append(f"{name}: {rows[:5]}")
        return found

    def balances(self) -> Counter[Account]:
        """Return every balance that is not zero: public ids of owned accounts, roles of the ledger's own."""
        balances: Counter[Account] = Counter()
        for code, currency, balance in self._rows("SELECT code, currency, balance_minor FROM accounts"):
            balances[_name_of(code), currency] += balance
        return balances

    def clearing_effects(self) -> Counter[Effect]:
        """Return every entry on the rails' clearing accounts."""
        rows = self._rows(
            """SELECT split_part(a.code, ':', 2), a.currency, e.direction, e.amount_minor, m.reference
            FROM entries e JOIN accounts a ON a.id = e.account_id JOIN movements m ON m.id = e.movement_id
            WHERE a.code LIKE 'rail_clearing:%'"""
        )
        return Counter(
            Effect(rail=rail, currency=currency, direction=direction, amount=amount, object_id=reference)
            for rail, currency, direction, amount, reference in rows
        )

    def notices_waiting(self) -> int:
        """How many of the rails' notices are stored and not with their objects yet."""
        ((count,),) = self._rows("SELECT count(*) FROM rail_notices WHERE due_at IS NOT NULL")
        return int(count)

    def open_holds(self) -> Counter[tuple[str, int]]:
        """Return what is held for (positive) and of (negative) merchants' accounts."""
        rows = self._rows(
            """SELECT d.code, c.code, h.remaining_minor FROM holds h
            JOIN accounts d ON d.id = h.debit_account_id JOIN accounts c ON c.id = h.credit_account_id
            WHERE h.status = 'open'"""
        )
        return Counter(
            (_name_of(credit), amount) if "/" in credit else (_name_of(debit), -amount)
            for debit, credit, amount in rows
        )

    def moved_for(self, keys: set[str]) -> list[tuple[str, str, int]]:
        """Return (key, account, net) of everything that is not as it was for objects these keys made.

        Only keys that made their object count: a refused capture shares its charge with others.
        """
        rows = self._rows(
            """SELECT k.key, a.code, sum(CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END)
            FROM idempotency_keys k JOIN movements m ON m.reference = k.object_id
            JOIN entries e ON e.movement_id = m.id JOIN accounts a ON a.id = e.account_id
            WHERE k.route IN ('/v1/charges', '/v1/refunds', '/v1/payouts', '/v1/transfers')
            GROUP BY k.key, a.code
            HAVING sum(CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END) <> 0"""
        )
        return [(key, _name_of(code), int(net)) for key, code, net in rows if key in keys]

    def claimed_keys(self) -> set[str]:
        """Return every idempotency key that was ever taken."""
        return {key for (key,) in self._rows("SELECT key FROM idempotency_keys")}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url) as connection:
            return connection.execute(query).fetchall()


def _name_of(code: str) -> str:
    """`mer_1/test/acct_a` is `acct_a`; `rail_clearing:card_alpha:EUR:test` is `rail_clearing:card_alpha`."""
    if "/" in code:
        return code.rsplit("/", 1)[-1]
    return ":".join(code.split(":")[:-2])
