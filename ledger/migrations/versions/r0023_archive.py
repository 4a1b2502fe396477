"""Archiving the oldest period, and refusing questions about what is archived. See `sql/archive.sql`."""

from pathlib import Path

from ledger.migrations.rewriting import insert_before, replace_in_function, run

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "archive.sql"
REFUSE = """IF p_at < books_begin() THEN
        RAISE EXCEPTION 'the book begins at %; what was before is archived', books_begin() USING ERRCODE = 'LL002';
    END IF;
    """


def upgrade() -> None:
    """Add what archiving needs; nothing is archived by itself."""
    run(SQL.read_text(encoding="utf-8"))
    insert_before("settle_ledger", "IF v_at <= ledger_watermark() THEN", REFUSE)
    replace_in_function("ledger_guards", ("'movement_keys']", "'movement_keys', 'carried_balances']"))


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
