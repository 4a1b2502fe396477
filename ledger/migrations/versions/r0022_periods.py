"""Movements and entries in partitions by recorded time. What is there becomes the first one, where it lies.

Keys of movements move to a table of their own, where they stay unique whatever partition a movement is in.
Takes time in proportion to the movements (their keys are copied) and holds posting up for as long.
"""

from pathlib import Path

from ledger.migrations.rewriting import column, replace_in_function, run

revision = "0022"
down_revision = "0040"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "periods.sql"
ADMIN = "(SELECT current_setting('ledgerline.admin', true)) = 'on'"
VISIBLE = {
    "movements": "EXISTS (SELECT FROM ledger_transactions t WHERE t.id = ledger_transaction_id)",
    "entries": "EXISTS (SELECT FROM accounts a WHERE a.id = account_id)",
}
INDEXES = {
    "movements": {
        "movements_by_ledger_transaction": "INDEX {} ON {} (ledger_transaction_id)",
        "movements_by_reference": "INDEX {} ON {} (reference)",
    },
    "entries": {
        "entries_by_recorded_at": "UNIQUE INDEX {} ON {} (account_id, recorded_at DESC)",
        "entries_by_effective_at": "INDEX {} ON {} (account_id, effective_at DESC) WHERE effective_at <> recorded_at",
    },
}
# A ledger transaction's movements are recorded within as many microseconds before it as it has movements.
ENTRIES_OF = """FROM ledger_transactions t
    JOIN movements m ON m.ledger_transaction_id = t.id
        AND m.recorded_at > t.recorded_at - interval '1 second' AND m.recorded_at <= t.recorded_at
    JOIN entries e ON e.id IN (2 * m.id - 1, 2 * m.id) AND e.recorded_at = m.recorded_at
    JOIN accounts a ON a.id = e.account_id
    WHERE t.id = p_ledger_transaction"""
KEYS_WRITTEN = """INSERT INTO movement_keys (key, movement_id, amount_minor, fingerprint)
    SELECT m.key, p_last_id + m.j, m.amount, m.fingerprint
    FROM unnest(m_take, m_key, m_amount, m_fingerprint) WITH ORDINALITY AS m (take, key, amount, fingerprint, j)
    WHERE m.take;
    INSERT INTO movements ("""


def upgrade() -> None:
    """Partition both tables, make the first periods, and let the functions look where keys are now."""
    run("LOCK TABLE ledger_turn IN SHARE ROW EXCLUSIVE MODE; LOCK TABLE movements, entries IN ACCESS EXCLUSIVE MODE")
    run(SQL.read_text(encoding="utf-8"))
    run("INSERT INTO movement_keys SELECT key, id, amount_minor, fingerprint FROM movements ORDER BY id")
    (first_upper,) = column(
        "SELECT date_trunc('month', greatest(clock_timestamp(), last_recorded_at), 'UTC') + interval '1 month'"
        " FROM ledger_clock"
    )
    run("ALTER TABLE movements DROP CONSTRAINT movements_key_key; ALTER TABLE movements DROP COLUMN fingerprint")
    for table in ("movements", "entries"):
        _partition(table, first_upper)
    run(f"INSERT INTO ledger_periods (upper_at, lower_at) VALUES ('{first_upper}', '-infinity')")
    run(f"SELECT add_ledger_period('{first_upper}', 'infinity')")
    _guard()
    _follow()


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")


def _partition(table: str, upper: str) -> None:
    (first,) = column(f"SELECT ledger_partition('{table}', '{upper}')")
    run(f"ALTER TABLE {table} RENAME TO {first}")
    run(f"ALTER INDEX {table}_pkey RENAME TO {first}_pkey")
    for index in INDEXES[table]:
        run(f"ALTER INDEX {index} RENAME TO {index.replace(table, first, 1)}")
    run(f"REVOKE ALL ON {first} FROM ledgerline_app, ledgerline_api")
    run(f"CREATE TABLE {table} (LIKE {first} INCLUDING CONSTRAINTS) PARTITION BY RANGE (recorded_at)")
    for index, definition in INDEXES[table].items():
        run("CREATE " + definition.format(index, table))
    run(f"ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ('{upper}')")
    append_only = f"{table}_append_only"
    run(
        f"CREATE TRIGGER {append_only} BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {append_only}"
    )
    run(f"GRANT SELECT, INSERT ON {table} TO ledgerline_app; GRANT SELECT ON {table} TO ledgerline_api")
    run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    run(f"CREATE POLICY app ON {table} TO ledgerline_app USING (true) WITH CHECK (true)")
    run(f"CREATE POLICY api ON {table} FOR SELECT TO ledgerline_api USING ({ADMIN} OR ({VISIBLE[table]}))")


def _guard() -> None:
    run(
        "CREATE TRIGGER entries_balance AFTER INSERT ON entries REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION check_entries_balance()"
    )
    run(
        "CREATE TRIGGER movement_keys_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON movement_keys"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
        "ALTER TABLE movement_keys ENABLE ALWAYS TRIGGER movement_keys_append_only"
    )
    replace_in_function("ledger_guards", ("'hold_changes']", "'hold_changes', 'movement_keys']"))
    run("GRANT SELECT, INSERT ON movement_keys TO ledgerline_app")
    run("GRANT SELECT ON ledger_periods TO ledgerline_app, ledgerline_api")
    run(
        "REVOKE ALL ON FUNCTION ledger_partition(text, timestamptz), guard_ledger_partition(text, text),"
        " ledger_period_bounds(timestamptz, timestamptz), add_ledger_period(timestamptz, timestamptz),"
        " end_ledger_period(timestamptz), extend_ledger_periods(timestamptz), analyze_ledger() FROM PUBLIC"
    )
    run("GRANT EXECUTE ON FUNCTION extend_ledger_periods(timestamptz), analyze_ledger() TO ledgerline_app")


def _follow() -> None:
    """Let the functions find keys in their table and a ledger transaction's movements in its partition."""
    replace_in_function(
        "post_batch", ("LEFT JOIN movements m ON m.key = k.key", "LEFT JOIN movement_keys m ON m.key = k.key")
    )
    replace_in_function(
        "write_movements",
        ("INSERT INTO movements (", KEYS_WRITTEN),
        ("effective_at, fingerprint)\n    SELECT", "effective_at)\n    SELECT"),
        ("interval '1 microsecond'), m.fingerprint\n", "interval '1 microsecond')\n"),
        (
            "m_effective, m_fingerprint) WITH ORDINALITY AS m (take, posting",
            "m_effective) WITH ORDINALITY AS m (take, posting",
        ),
        ("reference, phase, hold, effective, fingerprint, j)", "reference, phase, hold, effective, j)"),
    )
    replace_in_function(
        "entries_of",
        (
            "FROM movements m\n    JOIN entries e ON e.id IN (2 * m.id - 1, 2 * m.id)\n"
            "    JOIN accounts a ON a.id = e.account_id\n    WHERE m.ledger_transaction_id = p_ledger_transaction",
            ENTRIES_OF,
        ),
    )
