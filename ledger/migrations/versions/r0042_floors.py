"""Movements with a floor of their own: refunds that may go negative to a limit, payouts that never do."""

from pathlib import Path

from ledger.migrations.rewriting import replace_in_function, run, signature

revision = "0042"
down_revision = "0050"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "floors.sql"
READ = """IF p_rest ? 'floors' THEN
        SELECT array_agg(f.least ORDER BY g.n) INTO m_floor
        FROM generate_series(1, nm) AS g (n)
        LEFT JOIN jsonb_to_recordset(p_rest -> 'floors') AS f (movement integer, least bigint) ON f.movement = g.n;
    END IF;

    """


def upgrade() -> None:
    """Hand the floors of a batch to where its movements are decided."""
    run(SQL.read_text(encoding="utf-8"))
    replace_in_function(
        "decide_in_turn",
        ("m_past boolean[], ", "m_past boolean[], m_floor bigint[], "),
        ("a_debits[d], a_min[d],", "a_debits[d], floor_of(a_min[d], m_floor[j]),"),
    )
    replace_in_function(
        "post_batch",
        ("SELECT d.* INTO o_status", READ + "SELECT d.* INTO o_status"),
        ("m_hold, m_past, m_fingerprint, e_amount", "m_hold, m_past, m_floor, m_fingerprint, e_amount"),
        ("m_take boolean[]; m_pend bigint[];", "m_take boolean[]; m_pend bigint[]; m_floor bigint[];"),
    )
    run(f"DROP FUNCTION {signature('decide_in_turn', without='m_floor')}")
    decides = signature("decide_in_turn")
    run(f"REVOKE ALL ON FUNCTION {decides} FROM PUBLIC")
    run(f"GRANT EXECUTE ON FUNCTION {decides} TO ledgerline_app")


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
