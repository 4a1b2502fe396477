"""The statements of the invariant watch. Each is set-based and costs in proportion to the rows it is told to look at.

A *slice* is a range of movement ids, `%(after)s < id <= %(upto)s`, with the entries of those movements
(ids 2 * movement - 1 and 2 * movement). Decides what is compared; `ledger/watch.py` decides with what range.
"""

_SLICE = """
    moved AS MATERIALIZED (
        SELECT * FROM movements WHERE id > %(after)s AND id <= %(upto)s
    ), added AS MATERIALIZED (
        SELECT e.id, e.movement_id, e.account_id, e.sequence, e.direction, e.amount_minor, e.balance_minor,
            e.recorded_at, e.effective_at,
            CASE e.direction WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END AS signed
        FROM entries e WHERE e.id > 2 * %(after)s AND e.id <= 2 * %(upto)s
    )"""

# What came before an account's first entry of the slice: what was verified, for new entries ...
_BEFORE_VERIFIED = """
    SELECT account_id, balance_minor, sequence, recorded_at FROM ledger_watch_accounts
    WHERE account_id IN (SELECT account_id FROM added)"""
# ... and for old ones the entry before it, one look-up an account, or what was carried over from the archive.
_BEFORE_STORED = """
    SELECT f.account_id, b.balance_minor, b.sequence, b.recorded_at
    FROM (SELECT account_id, min(recorded_at) AS recorded_at FROM added GROUP BY account_id) f
    CROSS JOIN LATERAL (SELECT * FROM (
        (SELECT e.balance_minor, e.sequence, e.recorded_at FROM entries e
            WHERE e.account_id = f.account_id AND e.recorded_at < f.recorded_at ORDER BY e.recorded_at DESC LIMIT 1)
        UNION ALL
        (SELECT c.balance_minor, c.sequence, NULL FROM carried_balances c WHERE c.account_id = f.account_id)
        ) told ORDER BY told.sequence DESC LIMIT 1) b"""

# One pass: each entry with what came before it, its movement and its account; `unfit` if they don't fit together.
_JUDGED = """
    judged AS MATERIALIZED (
        SELECT r.*, m.currency AS moved_currency, a.code, a.currency, a.balance_minor AS account_balance, a.version,
            m.id IS NULL OR m.amount_minor <> r.amount_minor OR m.recorded_at <> r.recorded_at
                OR m.effective_at <> r.effective_at OR m.phase IN ('hold', 'void_hold')
                OR CASE r.direction WHEN 'debit' THEN r.id <> 2 * m.id - 1 OR r.account_id <> m.debit_account_id
                    ELSE r.id <> 2 * m.id OR r.account_id <> m.credit_account_id END AS unfit
        FROM (
            SELECT d.*, coalesce(lag(d.balance_minor) OVER w, b.balance_minor, 0) AS balance_before,
                coalesce(lag(d.sequence) OVER w, b.sequence, 0) AS sequence_before,
                coalesce(lag(d.recorded_at) OVER w, b.recorded_at) AS recorded_before,
                lead(d.id) OVER w IS NULL AS last
            FROM added d LEFT JOIN before b ON b.account_id = d.account_id
            WINDOW w AS (PARTITION BY d.account_id ORDER BY d.sequence, d.id)
        ) r LEFT JOIN moved m ON m.id = r.movement_id LEFT JOIN accounts a ON a.id = r.account_id
    ), sums AS MATERIALIZED (
        SELECT coalesce(currency, '?') AS currency, count(*) AS entries, count(*) FILTER (WHERE NOT unfit) AS fit,
            coalesce(sum(amount_minor) FILTER (WHERE direction = 'debit'), 0) AS debits,
            coalesce(sum(amount_minor) FILTER (WHERE direction = 'credit'), 0) AS credits
        FROM judged GROUP BY 1
    ), wrong AS MATERIALIZED (
        SELECT * FROM judged WHERE unfit OR code IS NULL OR currency <> moved_currency
            OR balance_minor <> balance_before + signed OR sequence <> sequence_before + 1
            OR recorded_at <= recorded_before
    )"""

_RULES = """
    SELECT 'running_balance_mismatch' AS kind, code AS account, id AS entry, currency,
        'balance ' || balance_minor || ' after ' || balance_before || ' and ' || signed AS detail
    FROM wrong WHERE balance_minor <> balance_before + signed
    UNION ALL
    SELECT 'sequence_gap', code, id, currency, 'sequence ' || sequence || ' after ' || sequence_before
    FROM wrong WHERE sequence <> sequence_before + 1
    UNION ALL
    SELECT 'time_order_broken', code, id, currency, recorded_at || ' after ' || recorded_before
    FROM wrong WHERE recorded_at <= recorded_before
    UNION ALL
    SELECT 'entry_without_account', NULL, id, moved_currency, 'account ' || account_id FROM wrong WHERE code IS NULL
    UNION ALL
    SELECT 'entry_without_movement', code, id, coalesce(moved_currency, currency), 'movement ' || movement_id
    FROM wrong WHERE unfit
    UNION ALL
    SELECT 'movement_currency_wrong', code, id, currency, 'movement ' || movement_id || ' in ' || moved_currency
    FROM wrong WHERE currency <> moved_currency
    UNION ALL
    SELECT 'currency_unbalanced', NULL, NULL, currency, currency || ' entries up to movement ' || %(upto)s
        || ' have debits ' || debits || ' and credits ' || credits
    FROM sums WHERE debits <> credits
    UNION ALL
    SELECT 'movement_entries_wrong', a.code, leg.entry, m.currency,
        'movement ' || m.key || ' (' || m.phase || ') has no such ' || leg.direction || ' entry'
    FROM moved m CROSS JOIN LATERAL (VALUES (2 * m.id - 1, m.debit_account_id, 'debit'),
        (2 * m.id, m.credit_account_id, 'credit')) leg (entry, account_id, direction)
    LEFT JOIN added e ON e.id = leg.entry LEFT JOIN accounts a ON a.id = leg.account_id
    WHERE m.phase NOT IN ('hold', 'void_hold') AND e.id IS NULL
        -- Entries that fit are two for each movement, unless one is missing: then look which.
        AND (SELECT coalesce(sum(fit), 0) FROM sums)
            < 2 * (SELECT count(*) FROM moved WHERE phase NOT IN ('hold', 'void_hold'))"""

SLICE_OF_OLD = f"""
    WITH {_SLICE}, before AS ({_BEFORE_STORED}), {_JUDGED}
    {_RULES}
    LIMIT %(most)s
"""
"""Violations among entries verified before. One index look-up for each account in the slice."""

SLICE_OF_NEW = f"""
    WITH {_SLICE}, before AS ({_BEFORE_VERIFIED}), {_JUDGED}, summed AS (
        INSERT INTO ledger_watch_totals AS t (currency, debits_minor, credits_minor, entries)
        SELECT currency, debits, credits, entries FROM sums
        ON CONFLICT (currency) DO UPDATE SET debits_minor = t.debits_minor + excluded.debits_minor,
            credits_minor = t.credits_minor + excluded.credits_minor, entries = t.entries + excluded.entries
    ), legs AS (
        SELECT m.key, m.phase, m.amount_minor, m.currency, m.recorded_at, leg.account_id, leg.side,
            h.pending_debits_minor AS debits, h.pending_credits_minor AS credits, h.account_id IS NULL AS missing
        FROM moved m CROSS JOIN LATERAL (VALUES (m.debit_account_id, 'debit'), (m.credit_account_id, 'credit'))
            leg (account_id, side)
        LEFT JOIN hold_changes h ON h.account_id = leg.account_id AND h.recorded_at = m.recorded_at
        WHERE m.phase <> 'post'
    ), held AS MATERIALIZED (
        SELECT l.*, coalesce(lag(l.debits) OVER w, v.pending_debits_minor, 0) AS debits_before,
            coalesce(lag(l.credits) OVER w, v.pending_credits_minor, 0) AS credits_before
        FROM legs l LEFT JOIN ledger_watch_accounts v ON v.account_id = l.account_id
        WINDOW w AS (PARTITION BY l.account_id ORDER BY l.recorded_at)
    ), last_entries AS (
        -- Of an entry that doesn't follow, what the account itself says is taken for true.
        SELECT account_id, id, recorded_at, CASE account_balance WHEN balance_before + signed THEN account_balance
            ELSE balance_minor END AS balance_minor,
            CASE version WHEN sequence_before + 1 THEN version ELSE sequence END AS sequence
        FROM judged WHERE last
    ), last_holds AS (
        SELECT DISTINCT ON (account_id) account_id, debits, credits
        FROM held WHERE NOT missing ORDER BY account_id, recorded_at DESC
    ), verified AS (
        INSERT INTO ledger_watch_accounts (account_id, balance_minor, sequence, entry_id, recorded_at,
            pending_debits_minor, pending_credits_minor)
        SELECT account_id, coalesce(e.balance_minor, v.balance_minor, 0), coalesce(e.sequence, v.sequence, 0),
            coalesce(e.id, v.entry_id), coalesce(e.recorded_at, v.recorded_at),
            coalesce(h.debits, v.pending_debits_minor, 0), coalesce(h.credits, v.pending_credits_minor, 0)
        FROM last_entries e FULL JOIN last_holds h USING (account_id)
        LEFT JOIN ledger_watch_accounts v USING (account_id)
        ON CONFLICT (account_id) DO UPDATE SET balance_minor = excluded.balance_minor, sequence = excluded.sequence,
            entry_id = excluded.entry_id, recorded_at = excluded.recorded_at,
            pending_debits_minor = excluded.pending_debits_minor,
            pending_credits_minor = excluded.pending_credits_minor
    )
    {_RULES}
    UNION ALL
    SELECT 'pending_mismatch', a.code, NULL, h.currency, 'movement ' || h.key || ' (' || h.phase || ' '
        || h.amount_minor || ') left ' || coalesce(h.debits::text, 'no record') || ' / '
        || coalesce(h.credits::text, '')
        || ' pending after ' || h.debits_before || ' / ' || h.credits_before
    FROM held h LEFT JOIN accounts a ON a.id = h.account_id
    CROSS JOIN LATERAL (SELECT CASE h.side WHEN 'debit' THEN h.debits - h.debits_before
        ELSE h.credits - h.credits_before END AS changed, CASE h.side WHEN 'debit' THEN h.credits - h.credits_before
        ELSE h.debits - h.debits_before END AS other) c
    WHERE h.missing OR c.other <> 0 OR CASE h.phase WHEN 'hold' THEN c.changed <> h.amount_minor
        WHEN 'post_hold' THEN c.changed <> -h.amount_minor ELSE c.changed > -h.amount_minor END
    UNION ALL
    SELECT 'hold_mismatch', a.code, NULL, m.currency, 'hold ' || coalesce(m.hold_key, m.key)
        || ' is not what movement ' || m.key || ' (' || m.phase || ') left'
    FROM moved m LEFT JOIN holds h ON h.key = coalesce(m.hold_key, m.key)
    LEFT JOIN accounts a ON a.id = m.debit_account_id
    WHERE m.phase <> 'post' AND (h.key IS NULL OR h.currency <> m.currency
        OR (h.debit_account_id, h.credit_account_id) <> (m.debit_account_id, m.credit_account_id)
        OR (h.status = 'open') <> (h.remaining_minor > 0) OR h.remaining_minor > h.amount_minor
        OR (m.phase = 'hold' AND h.amount_minor <> m.amount_minor)
        OR (m.phase IN ('post_hold_final', 'void_hold') AND h.remaining_minor <> 0))
    LIMIT %(most)s
"""
"""Violations among new entries and holds; adds them to what is verified, in the same snapshot."""

ACCOUNTS = """
    WITH looked AS (
        SELECT coalesce(a.id, v.account_id) AS id, a.code, a.currency, a.balance_minor, a.version,
            a.pending_debits_minor AS debits, a.pending_credits_minor AS credits,
            coalesce(v.balance_minor, 0) AS verified_balance, coalesce(v.sequence, 0) AS verified_sequence,
            v.entry_id, coalesce(v.pending_debits_minor, 0) AS verified_debits,
            coalesce(v.pending_credits_minor, 0) AS verified_credits
        FROM (SELECT * FROM accounts WHERE id > %(after)s AND id <= %(upto)s) a
        FULL JOIN (SELECT * FROM ledger_watch_accounts WHERE account_id > %(after)s AND account_id <= %(upto)s) v
            ON v.account_id = a.id
    ), last AS (
        SELECT l.*, e.id AS last_entry, e.balance_minor AS last_balance, e.sequence AS last_sequence
        FROM looked l LEFT JOIN LATERAL (SELECT * FROM entries e WHERE e.account_id = l.id
            ORDER BY e.recorded_at DESC LIMIT 1) e ON true
    )
    SELECT 'account_missing' AS kind, NULL AS account, entry_id AS entry, NULL AS currency,
        'account ' || id || ' had balance ' || verified_balance AS detail
    FROM last WHERE code IS NULL
    UNION ALL
    SELECT 'balance_mismatch', code, entry_id, currency, 'balance ' || balance_minor || ', entries came to '
        || verified_balance
    FROM last WHERE balance_minor <> verified_balance
    UNION ALL
    SELECT 'entry_count_mismatch', code, entry_id, currency, 'version ' || version || ', entries were '
        || verified_sequence
    FROM last WHERE version <> verified_sequence
    UNION ALL
    SELECT 'last_entry_changed', code, entry_id, currency,
        'balance ' || verified_balance || ' at sequence ' || verified_sequence || ' was verified'
    FROM last WHERE entry_id IS NOT NULL AND (last_entry, last_balance, last_sequence)
        IS DISTINCT FROM (entry_id, verified_balance, verified_sequence)
    UNION ALL
    SELECT 'pending_mismatch', code, NULL, currency, 'pending ' || debits || ' / ' || credits || ', holds came to '
        || verified_debits || ' / ' || verified_credits
    FROM last WHERE (debits, credits) <> (verified_debits, verified_credits)
    LIMIT %(most)s
"""
"""Violations of accounts with ids in a range against what was verified. Only where nothing new is left to verify."""

AHEAD_OF_CLOCK = """
    SELECT 'entry_ahead_of_clock' AS kind, a.code AS account, e.id AS entry, a.currency,
        'the ledger has given out ids up to ' || 2 * %(clock)s AS detail
    FROM entries e LEFT JOIN accounts a ON a.id = e.account_id WHERE e.id > 2 * %(clock)s
    UNION ALL
    SELECT 'movement_ahead_of_clock', NULL, NULL, m.currency, 'movement ' || m.key || ' has id ' || m.id
    FROM movements m WHERE m.id > %(clock)s
    LIMIT %(most)s
"""
"""What the ledger can't have written: rows above its own counters."""

TOTALS_OF_VERIFIED = """
    SELECT 'verified_totals_changed' AS kind, NULL AS account, NULL::bigint AS entry,
        coalesce(s.currency, t.currency) AS currency,
        'verified were ' || coalesce(t.debits_minor, 0) || ' / ' || coalesce(t.credits_minor, 0) || ' in '
        || coalesce(t.entries, 0) || ' entries, now they are ' || coalesce(s.debits, 0) || ' / '
        || coalesce(s.credits, 0) || ' in ' || coalesce(s.entries, 0) AS detail
    FROM (
        SELECT coalesce(a.currency, '?') AS currency, count(*) AS entries,
            coalesce(sum(e.amount_minor) FILTER (WHERE e.direction = 'debit'), 0) AS debits,
            coalesce(sum(e.amount_minor) FILTER (WHERE e.direction = 'credit'), 0) AS credits
        FROM entries e LEFT JOIN accounts a ON a.id = e.account_id
        WHERE e.id <= 2 * (SELECT movement_id FROM ledger_watch) GROUP BY 1
    ) s FULL JOIN ledger_watch_totals t ON t.currency = s.currency
    WHERE (s.debits, s.credits, s.entries)
        IS DISTINCT FROM (t.debits_minor::numeric, t.credits_minor::numeric, t.entries)
    UNION ALL
    SELECT 'last_entry_changed', a.code, v.entry_id, a.currency,
        'balance ' || v.balance_minor || ' at sequence ' || v.sequence || ' was verified'
    FROM ledger_watch_accounts v LEFT JOIN entries e ON e.id = v.entry_id AND e.account_id = v.account_id
    LEFT JOIN accounts a ON a.id = v.account_id
    WHERE v.entry_id IS NOT NULL AND (e.balance_minor, e.sequence) IS DISTINCT FROM (v.balance_minor, v.sequence)
    LIMIT %(most)s
"""
"""What was verified before and is not as it was: reads every entry. Finds what was removed without a trace."""

REBASE = (
    """
    INSERT INTO ledger_watch_totals AS t (currency, debits_minor, credits_minor, entries)
    SELECT coalesce(a.currency, t.currency, '?'),
        coalesce(sum(e.amount_minor) FILTER (WHERE e.direction = 'debit'), 0),
        coalesce(sum(e.amount_minor) FILTER (WHERE e.direction = 'credit'), 0), count(e.id)
    FROM (SELECT * FROM entries WHERE id <= 2 * (SELECT movement_id FROM ledger_watch)) e
    LEFT JOIN accounts a ON a.id = e.account_id
    FULL JOIN ledger_watch_totals t ON t.currency = a.currency GROUP BY 1
    ON CONFLICT (currency) DO UPDATE SET debits_minor = excluded.debits_minor,
        credits_minor = excluded.credits_minor, entries = excluded.entries
    """,
    """
    UPDATE ledger_watch_accounts v SET balance_minor = coalesce(e.balance_minor, 0),
        sequence = coalesce(e.sequence, 0), entry_id = e.id, recorded_at = e.recorded_at
    FROM ledger_watch_accounts w LEFT JOIN LATERAL (SELECT * FROM entries e WHERE e.account_id = w.account_id
        AND e.id <= 2 * (SELECT movement_id FROM ledger_watch) ORDER BY e.recorded_at DESC LIMIT 1) e ON true
    WHERE w.account_id = v.account_id
        AND (v.entry_id, v.balance_minor, v.sequence) IS DISTINCT FROM (e.id, e.balance_minor, e.sequence)
    """,
)
"""Takes what is stored now for verified: after an incident that a person has taken note of. Reads every entry."""

GUARDS_OFF = """
    SELECT 'guard_off' AS kind, NULL AS account, NULL::bigint AS entry, NULL AS currency,
        'table ' || relation || ' may be changed: its append-only trigger is off' AS detail
    FROM ledger_guards() WHERE NOT in_force
"""

GUARDS = "SELECT string_agg(relation || ': ' || fingerprint, '; ' ORDER BY relation) FROM ledger_guards()"

TURN = "LOCK TABLE ledger_watch IN SHARE ROW EXCLUSIVE MODE NOWAIT"
"""Before the snapshot, so that a second watch doesn't look at what the first one just verified."""

STATE = f"""
    SELECT w.movement_id, w.patrol_movement_id, w.patrol_account_id, w.guards, ({GUARDS}) AS guards_now,
        c.last_movement_id AS clock, clock_timestamp() AS now,
        coalesce((SELECT sum(entries) FROM ledger_watch_totals), 0)::bigint AS entries,
        (SELECT recorded_at FROM movements m WHERE m.id > w.movement_id ORDER BY m.id LIMIT 1) AS oldest_unverified
    FROM ledger_watch w, ledger_clock c
"""

TOTALS = "SELECT currency, debits_minor, credits_minor, entries FROM ledger_watch_totals ORDER BY currency"

ACCOUNTS_AFTER = """
    SELECT count(*) AS accounts, max(id) AS last FROM (
        SELECT id FROM accounts WHERE id > %(after)s ORDER BY id LIMIT %(accounts)s) n
"""
