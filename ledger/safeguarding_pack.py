"""The rows of a resolution pack, as statements for a cursor: `at` is a settled instant, `since` where history begins.

Each is sorted by what is unique in it, so that the same book gives the same rows in the same order.
"""

from ledger.balances import LAST_ENTRY

BALANCES = f"""
    SELECT a.code AS account, a.merchant_id AS merchant, a.kind, a.currency, a.name, a.status,
        coalesce(last.balance_minor, 0) AS posted, coalesce(held.pending_debits_minor, 0) AS held,
        greatest(coalesce(last.balance_minor, 0), 0) AS counted, a.created_at AS opened_at
    FROM accounts a {LAST_ENTRY}
    LEFT JOIN LATERAL (SELECT h.pending_debits_minor FROM hold_changes h
        WHERE h.account_id = a.id AND h.recorded_at <= %(at)s ORDER BY h.recorded_at DESC LIMIT 1) held ON true
    WHERE a.merchant_id IS NOT NULL AND a.mode = %(mode)s AND a.created_at <= %(at)s ORDER BY a.code
"""
"""Every customer's and merchant's account; what is held is still theirs, so it is part of `posted`."""

MERCHANTS = """
    SELECT m.id AS merchant, m.name, m.created_at FROM merchants m WHERE m.created_at <= %(at)s
        AND EXISTS (SELECT FROM accounts a WHERE a.merchant_id = m.id AND a.mode = %(mode)s AND a.created_at <= %(at)s)
    ORDER BY m.id
"""

OWN_ACCOUNTS = f"""
    SELECT a.code AS account, a.kind, a.currency, coalesce(last.balance_minor, 0) AS posted
    FROM accounts a {LAST_ENTRY}
    WHERE a.merchant_id IS NULL AND split_part(a.code, ':', -1) = %(mode)s AND a.created_at <= %(at)s ORDER BY a.code
"""

HISTORY = {
    "reconciliations": """
        SELECT r.document FROM safeguarding_reconciliations r WHERE r.mode = %(mode)s
            AND r.created_at > %(since)s AND r.created_at <= %(at)s ORDER BY r.id
    """,
    "breaks": """
        SELECT b.document FROM safeguarding_breaks b WHERE b.mode = %(mode)s
            AND (b.document ->> 'opened_at')::timestamptz <= %(at)s
            AND coalesce((b.document ->> 'resolved_at')::timestamptz, 'infinity') > %(since)s ORDER BY b.id
    """,
    "statements": """
        SELECT s.document FROM safeguarding_statements s WHERE s.mode = %(mode)s AND s.updated_at <= %(at)s
            AND (s.document ->> 'as_of')::timestamptz > %(since)s ORDER BY s.id
    """,
}
"""Objects of the days before, by file; a break that was open at any time of them is in."""
