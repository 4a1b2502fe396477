"""What reconciliation reads: files, lines that came before, what the books have of an order, what a file lacks.

Decides nothing; it writes only the bytes of a file, before the posting that makes it one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.identifiers import Mode
from domain.orphan import orphan_of_order
from domain.reconciliation import LineStatus
from reconciliation.matching import BookSide, EarlierLine

Row = dict[str, Any]

_KEEP = "INSERT INTO reconciliation_contents (file_id, content) VALUES (%(id)s, %(content)s) ON CONFLICT DO NOTHING"
_FILE = "SELECT merchant_id, mode, version, document, internal FROM reconciliation_files WHERE id = %(id)s"
_CONTENT = "SELECT content FROM reconciliation_contents WHERE file_id = %(id)s"
_UNSTARTED = """
SELECT id FROM reconciliation_files
WHERE status = 'processing' AND created_at < clock_timestamp() - interval '30 seconds' ORDER BY created_at LIMIT 100
"""
_OUTCOMES = "SELECT number FROM reconciliation_lines WHERE file_id = %(file)s AND number = ANY (%(numbers)s)"
_EARLIER = "SELECT l.id, l.status, l.document, l.internal, {name} AS name FROM reconciliation_lines l "
_HOLDERS = (
    _EARLIER.format(name="k.key")
    + "JOIN idempotency_keys k ON k.object_id = l.id"
    + " WHERE k.merchant_id = %(merchant)s AND k.mode = %(mode)s AND k.key = ANY (%(keys)s)"
)
_CORRECTIONS = (
    _EARLIER.format(name="l.document ->> 'corrects'")
    + "WHERE l.merchant_id = %(merchant)s AND l.mode = %(mode)s AND l.rail = %(rail)s AND l.status = 'matched'"
    + " AND l.document ->> 'corrects' = ANY (%(references)s) ORDER BY l.created_at, l.file_id, l.number"
)
_MOVED = """LEFT JOIN LATERAL (SELECT max(m.recorded_at) AS moved_at FROM movements m WHERE m.reference = o.id
    AND m.kind IN ('charge_capture', 'refund', 'payout_paid', 'chargeback')) m ON true"""
# Orders are named by the key the rail saw, or by our id.
_SIDES = f"""
SELECT a.id AS rail_key, a.operation_id, a.outcome, a.merchant_id, o.kind, o.id, o.document, m.moved_at
FROM attempts a
JOIN LATERAL (
    SELECT 'charge' AS kind, id, document FROM charges UNION ALL SELECT 'refund', id, document FROM refunds
    UNION ALL SELECT 'payout', id, document FROM payouts
) o ON o.id = split_part(a.operation_id, '.', 1)
{_MOVED}
WHERE (a.id = ANY (%(orders)s) OR a.operation_id = ANY (%(orders)s)) AND a.rail = %(rail)s AND a.mode = %(mode)s
    AND (a.merchant_id = %(merchant)s OR %(everybody)s)
ORDER BY a.outcome = 'approved', a.created_at, a.id
"""
_ORPHANS = """
SELECT o.id, o.merchant_id, o.document, m.moved_at FROM exceptions o
LEFT JOIN LATERAL (SELECT max(m.recorded_at) AS moved_at FROM movements m WHERE m.reference = o.id
    AND m.kind = 'orphan') m ON true
WHERE o.id = ANY (%(ids)s) AND o.document ->> 'kind' = 'orphan' AND o.document ->> 'rail' = %(rail)s
    AND o.mode = %(mode)s AND (o.merchant_id = %(merchant)s OR %(everybody)s)
"""
_DISPUTES = f"""
SELECT o.charge_id, o.merchant_id, o.id, o.document, m.moved_at FROM disputes o {_MOVED}
WHERE o.charge_id = ANY (%(charges)s) AND o.mode = %(mode)s ORDER BY o.created_at, o.id
"""
_BATCH = """
SELECT coalesce(sum((document ->> 'batch_amount')::bigint), 0) AS owed FROM reconciliation_lines
WHERE merchant_id = %(merchant)s AND mode = %(mode)s AND rail = %(rail)s AND document ->> 'currency' = %(currency)s
    AND (batch = ANY (%(batches)s) OR string_to_array(batch, '+') && %(batches)s)
"""
_MISSING_OPEN = "SELECT id, version, merchant_id, document FROM exceptions WHERE id = %(id)s AND status = 'open'"
_COVERED = """
SELECT max(document ->> 'covers_until') AS until FROM reconciliation_files
WHERE merchant_id = %(merchant)s AND mode = %(mode)s AND document ->> 'rail' = %(rail)s
    AND document ->> 'format' = 'acquirer_csv' AND document ->> 'covers_until' < %(until)s
"""
_SPAN = "SELECT min(document ->> 'booked_at') AS first, max(document ->> 'booked_at') AS last"
_SPAN += " FROM reconciliation_lines WHERE file_id = %(file)s"
_COUNTS = """
SELECT count(*) FILTER (WHERE status = 'matched') AS matched,
    count(*) FILTER (WHERE status = 'exception') AS exceptions,
    count(*) FILTER (WHERE status = 'duplicate') AS duplicates,
    count(*) FILTER (WHERE (document ->> 'late')::boolean) AS late
FROM reconciliation_lines WHERE file_id = %(file)s
"""
# What the books say the rail did in a span, by order: what it owes for it, unless a line has spoken of it.
_LACKING = """
SELECT m.reference, t.merchant_id, a.currency,
    sum(CASE e.direction WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END)::bigint AS owed
FROM accounts a
JOIN entries e ON e.account_id = a.id AND e.recorded_at > %(since)s AND e.recorded_at <= %(until)s
JOIN movements m ON m.id = e.movement_id AND m.kind IN ('charge_capture', 'refund', 'refund_reversal', 'payout_paid',
    'payout_returned', 'chargeback', 'dispute_reinstated')
JOIN ledger_transactions t ON t.id = m.ledger_transaction_id
WHERE a.kind = 'rail_clearing' AND split_part(a.code, ':', 2) = %(rail)s AND split_part(a.code, ':', 4) = %(mode)s
    AND (t.merchant_id = %(merchant)s OR %(everybody)s)
    AND NOT EXISTS (SELECT FROM reconciliation_lines l WHERE l.subject = m.reference AND l.rail = %(rail)s)
GROUP BY 1, 2, 3
HAVING sum(CASE e.direction WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) <> 0
ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose books a file is held against: one merchant's in a mode, or everybody's."""

    merchant_id: str
    mode: Mode
    everybody: bool

    def terms(self) -> dict[str, Any]:
        """Return the parameters of a statement."""
        return {"merchant": self.merchant_id, "mode": self.mode.value, "everybody": self.everybody}


class ReconciliationStore:
    """Reads under the worker's role. Every method but `keep_content` reads only."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def keep_content(self, file_id: str, content: bytes) -> None:
        """Store a file's bytes, durable on return. Idempotent on the file's id, which follows from them."""
        await self._rows(_KEEP, {"id": file_id, "content": content}, fetch=False)

    async def file(self, file_id: str) -> Row:
        """Return a file's row, which must be there."""
        (row,) = await self._rows(_FILE, {"id": file_id})
        return row

    async def content(self, file_id: str) -> bytes:
        """Return a file's bytes."""
        (row,) = await self._rows(_CONTENT, {"id": file_id})
        return bytes(row["content"])

    async def unstarted(self) -> list[str]:
        """Return files that were stored a while ago and are still not through."""
        return [row["id"] for row in await self._rows(_UNSTARTED, {})]

    async def outcomes(self, file_id: str, numbers: Sequence[int]) -> set[int]:
        """Return which lines of a file have their outcome."""
        return {row["number"] for row in await self._rows(_OUTCOMES, {"file": file_id, "numbers": list(numbers)})}

    async def holders(self, scope: Scope, keys: Sequence[str]) -> dict[str, EarlierLine]:
        """Return the first lines that claimed these keys."""
        rows = await self._rows(_HOLDERS, {**scope.terms(), "keys": list(keys)})
        return {row["name"]: _earlier(row) for row in rows}

    async def corrections(self, scope: Scope, rail: str, references: Sequence[str]) -> dict[str, EarlierLine]:
        """Return the latest lines that corrected these references."""
        if not references:
            return {}
        terms = {**scope.terms(), "rail": rail, "references": list(references)}
        return {row["name"]: _earlier(row) for row in await self._rows(_CORRECTIONS, terms)}

    async def sides(self, scope: Scope, rail: str, orders: Sequence[str]) -> dict[str, BookSide]:
        """Return what the books have of orders at a rail, by rail key and by our id."""
        if not orders:
            return {}
        found: dict[str, BookSide] = {}
        for row in await self._rows(_SIDES, {**scope.terms(), "rail": rail, "orders": list(orders)}):
            side = _side(row, scope.mode, row["kind"], row["rail_key"])
            found[row["rail_key"]] = found[row["operation_id"]] = side
        # An orphan's orders name the charge they were for; the money is the orphan's.
        orphans = {order: orphan_of_order(order) for order in orders}
        terms = {**scope.terms(), "rail": rail, "ids": sorted(set(orphans.values()))}
        rows = {row["id"]: row for row in await self._rows(_ORPHANS, terms)}
        for order, orphan in orphans.items():
            if orphan in rows:
                found[order] = _side(rows[orphan], scope.mode, "orphan", order)
        return found

    async def disputes(self, scope: Scope, charges: Sequence[str]) -> dict[str, list[BookSide]]:
        """Return the disputes of charges."""
        found: dict[str, list[BookSide]] = {}
        if charges:
            for row in await self._rows(_DISPUTES, {**scope.terms(), "charges": list(charges)}):
                found.setdefault(row["charge_id"], []).append(_side(row, scope.mode, "dispute", ""))
        return found

    async def owed(self, scope: Scope, rail: str, currency: str, batches: Sequence[str]) -> int:
        """Return what batches add up to less what was paid for them, in minor units."""
        terms = {**scope.terms(), "rail": rail, "currency": currency, "batches": list(batches)}
        (row,) = await self._rows(_BATCH, terms)
        return int(row["owed"])

    async def open_exception(self, exception_id: str) -> Row | None:
        """Return an exception's row while it is open."""
        rows = await self._rows(_MISSING_OPEN, {"id": exception_id})
        return rows[0] if rows else None

    async def span(self, file_id: str) -> tuple[datetime, datetime] | None:
        """Return the first and last booking of a file, None if it has no lines."""
        (row,) = await self._rows(_SPAN, {"file": file_id})
        if row["first"] is None:
            return None
        return datetime.fromisoformat(row["first"]), datetime.fromisoformat(row["last"])

    async def covered(self, scope: Scope, rail: str, until: str) -> datetime | None:
        """Return until when earlier files of a rail cover it."""
        (row,) = await self._rows(_COVERED, {**scope.terms(), "rail": rail, "until": until})
        return datetime.fromisoformat(row["until"]) if row["until"] is not None else None

    async def lacking(self, scope: Scope, rail: str, since: datetime, until: datetime) -> list[Row]:
        """Return what the books have of a rail after `since` up to `until`, and no line has spoken of."""
        return await self._rows(_LACKING, {**scope.terms(), "rail": rail, "since": since, "until": until})

    async def counts(self, file_id: str) -> Row:
        """Return how many lines of a file came to what."""
        (row,) = await self._rows(_COUNTS, {"file": file_id})
        return row

    async def _rows(self, sql: str, terms: dict[str, Any], *, fetch: bool = True) -> list[Row]:
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(sql, terms)
            return await cursor.fetchall() if fetch else []


def _side(row: Row, mode: Mode, kind: str, rail_key: str) -> BookSide:
    return BookSide(
        kind=kind,
        object_id=row["id"],
        merchant_id=row["merchant_id"],
        mode=mode,
        document=row["document"],
        rail_key=rail_key,
        moved_at=row["moved_at"],
    )


def _earlier(row: Row) -> EarlierLine:
    document = row["document"]
    return EarlierLine(
        id=row["id"],
        status=LineStatus(row["status"]),
        content_hash=row["internal"]["content_hash"],
        kind=document["kind"],
        gross_minor=document["gross"],
        net_minor=document["net"],
        currency=document["currency"],
        subject=document["subject"],
    )
