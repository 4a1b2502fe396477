"""The month's volume of each merchant, counted with the captures themselves; room for refund policies."""

from pathlib import Path

from ledger.migrations.rewriting import insert_before, run

revision = "0041"
down_revision = "0031"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "volumes.sql"
COUNT = """IF 'charge_capture' = ANY (m_kind) THEN
            PERFORM write_monthly_volumes(o_now, p_merchant, p_mode, m_posting, m_currency, m_kind, o_move);
        END IF;
        """


def upgrade() -> None:
    """Make the table with what was captured so far, and let postings count on."""
    run(SQL.read_text(encoding="utf-8"))
    insert_before("post_batch", "IF cardinality(h_key) > 0 THEN\n            PERFORM write_holds", COUNT)


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
