"""Stopping payouts of a currency: the table of stops, the ledger's refusal while one is active, alerts to deliver."""

from pathlib import Path

from ledger.migrations.rewriting import insert_before, replace_in_function, run, signature

revision = "0031"
down_revision = "0023"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql"
KIND, TABLE = "payout_stop", "payout_stops"
ADMIN = "(SELECT current_setting('ledgerline.admin', true)) = 'on'"
STORED = f"UNION ALL SELECT s.version, s.document FROM {TABLE} s WHERE p_kind = '{KIND}' AND s.id = p_id\n    "
WRITTEN = f"""IF '{KIND}' = ANY (r_kind) THEN
        v_written := v_written + write_{TABLE}(p_merchant, p_mode, p_status, p_recorded, r_posting, r_kind, r_id,
            r_version, r_document, r_internal);
    END IF;
    """
# Money that leaves an owner for a rail's transit account is a payout that starts. What is in transit already may
# still be paid, moved to another rail's transit account, or come back. Posters take turns, so after a stop has
# committed no batch is decided without it.
REFUSED = """ELSIF p_phase = 1 AND starts_with(c_code, 'payouts_in_transit:')
        AND NOT starts_with(d_code, 'payouts_in_transit:') AND payouts_stopped(p_currency) THEN
        RETURN refusal('payouts_stopped', d_code, 'payouts in ' || p_currency || ' are stopped');
    """


def upgrade() -> None:
    """Make the tables, let postings store stops, and refuse payouts that start while one is active."""
    run((SQL / "records.sql").read_text(encoding="utf-8").format(table=TABLE, kind=KIND, columns=""))
    run((SQL / "stops.sql").read_text(encoding="utf-8"))
    insert_before("stored_record", "UNION ALL SELECT p.version, p.document FROM policies", STORED)
    insert_before("write_records", "IF 'policy' = ANY (r_kind) THEN", WRITTEN)
    replace_in_function(
        "refuse_movement", (" IMMUTABLE", " STABLE"), ("ELSIF p_phase >= 3 THEN", REFUSED + "ELSIF p_phase >= 3 THEN")
    )
    _guard()


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")


def _guard() -> None:
    written = signature(f"write_{TABLE}")
    run(f"REVOKE ALL ON FUNCTION {written}, payouts_stopped(text) FROM PUBLIC")
    run(f"GRANT EXECUTE ON FUNCTION {written} TO ledgerline_app")
    run("GRANT EXECUTE ON FUNCTION payouts_stopped(text) TO ledgerline_app, ledgerline_api")
    run(f"GRANT SELECT, INSERT, UPDATE ON {TABLE}, ledger_alerts TO ledgerline_app")
    run(f"GRANT SELECT ON {TABLE}, ledger_alerts TO ledgerline_api")
    run(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    run(f"CREATE POLICY app ON {TABLE} TO ledgerline_app USING (true) WITH CHECK (true)")
    run(f"CREATE POLICY api ON {TABLE} FOR SELECT TO ledgerline_api USING ({ADMIN})")
