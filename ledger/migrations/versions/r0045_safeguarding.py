"""Safeguarding: banks' statements and reconciliations, which never change, and breaks, which do until they are over."""

from pathlib import Path

from ledger.migrations.rewriting import insert_before, replace_in_function, run, signature

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql"
KEPT = {
    "safeguarding_statement": "safeguarding_statements",
    "safeguarding_reconciliation": "safeguarding_reconciliations",
}
BREAK, BREAKS = "safeguarding_break", "safeguarding_breaks"
ADMIN = "(SELECT current_setting('ledgerline.admin', true)) = 'on'"
STORED = "UNION ALL SELECT s.version, s.document FROM {table} s WHERE p_kind = '{kind}' AND s.id = p_id\n    "
WRITTEN = """IF '{kind}' = ANY (r_kind) THEN
        v_written := v_written + write_{table}(p_merchant, p_mode, p_status, p_recorded, r_posting, r_kind, r_id,
            r_version, r_document, r_internal);
    END IF;
    """


def upgrade() -> None:
    """Make the tables, let postings store what is in them, and have the watch mind their guards."""
    for kind, table in KEPT.items():
        run((SQL / "kept_records.sql").read_text(encoding="utf-8").format(table=table, kind=kind))
    run((SQL / "records.sql").read_text(encoding="utf-8").format(table=BREAKS, kind=BREAK, columns=""))
    run(f"CREATE INDEX {BREAKS}_by_scope ON {BREAKS} ((document ->> 'scope'))")
    for kind, table in {**KEPT, BREAK: BREAKS}.items():
        stored, written = (text.format(kind=kind, table=table) for text in (STORED, WRITTEN))
        insert_before("stored_record", "UNION ALL SELECT p.version, p.document FROM policies", stored)
        insert_before("write_records", "IF 'policy' = ANY (r_kind) THEN", written)
        _guard(table, "SELECT, INSERT" if kind in KEPT else "SELECT, INSERT, UPDATE")
    kept = ", ".join(f"'{table}'" for table in KEPT.values())
    replace_in_function("ledger_guards", ("'carried_balances']", f"'carried_balances', {kept}]"))


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")


def _guard(table: str, may: str) -> None:
    written = signature(f"write_{table}")
    run(f"REVOKE ALL ON FUNCTION {written} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {written} TO ledgerline_app")
    run(f"GRANT {may} ON {table} TO ledgerline_app; GRANT SELECT ON {table} TO ledgerline_api")
    run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    run(f"CREATE POLICY app ON {table} TO ledgerline_app USING (true) WITH CHECK (true)")
    run(f"CREATE POLICY api ON {table} FOR SELECT TO ledgerline_api USING ({ADMIN})")
