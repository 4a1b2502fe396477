"""Files of rails and banks and their lines as two more kinds of object, and the bytes of each file as they came."""

from pathlib import Path

from ledger.migrations.rewriting import insert_before, run, signature

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "records.sql"
KINDS = {
    "reconciliation_file": ("reconciliation_files", {}),
    "reconciliation_line": (
        "reconciliation_lines",
        {
            "file_id": "text GENERATED ALWAYS AS (document ->> 'file') STORED",
            "number": "integer GENERATED ALWAYS AS ((document ->> 'number')::integer) STORED",
            "rail": "text GENERATED ALWAYS AS (document ->> 'rail') STORED",
            "reference": "text GENERATED ALWAYS AS (document ->> 'reference') STORED",
            "batch": "text GENERATED ALWAYS AS (document ->> 'batch') STORED",
            "subject": "text GENERATED ALWAYS AS (document ->> 'subject') STORED",
        },
    ),
}
CONTENTS = """
CREATE TABLE reconciliation_contents (
    file_id text PRIMARY KEY,
    content bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT ON reconciliation_contents TO ledgerline_app;
"""
INDEXES = """
CREATE UNIQUE INDEX reconciliation_lines_by_file ON reconciliation_lines (file_id, number);
CREATE INDEX reconciliation_lines_by_batch ON reconciliation_lines (merchant_id, mode, rail, batch);
CREATE INDEX reconciliation_lines_by_subject ON reconciliation_lines (subject) WHERE subject IS NOT NULL;
CREATE INDEX reconciliation_lines_by_corrected ON reconciliation_lines (merchant_id, mode, (document ->> 'corrects'))
    WHERE document ->> 'corrects' IS NOT NULL;
CREATE INDEX reconciliation_files_by_rail ON reconciliation_files (merchant_id, mode, (document ->> 'rail'));
"""
STORED = "UNION ALL SELECT s.version, s.document FROM {table} s WHERE p_kind = '{kind}' AND s.id = p_id\n    "
WRITTEN = """IF '{kind}' = ANY (r_kind) THEN
        v_written := v_written + write_{table}(p_merchant, p_mode, p_status, p_recorded, r_posting, r_kind, r_id,
            r_version, r_document, r_internal);
    END IF;
    """
ADMIN = "(SELECT current_setting('ledgerline.admin', true)) = 'on'"
OF_MERCHANT = (
    "merchant_id = (SELECT current_setting('ledgerline.merchant', true))"
    " AND mode = (SELECT current_setting('ledgerline.mode', true))"
)


def upgrade() -> None:
    """Make the tables and let postings store files and lines."""
    for kind, (table, columns) in KINDS.items():
        generated = "".join(f",\n    {name} {definition}" for name, definition in columns.items())
        run(SQL.read_text(encoding="utf-8").format(table=table, kind=kind, columns=generated))
        named = {"table": table, "kind": kind}
        insert_before("stored_record", "UNION ALL SELECT p.version, p.document FROM policies", STORED.format(**named))
        insert_before("write_records", "IF 'policy' = ANY (r_kind) THEN", WRITTEN.format(**named))
        _guard(table)
    run(INDEXES)
    run(CONTENTS)


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")


def _guard(table: str) -> None:
    written = signature(f"write_{table}")
    run(f"REVOKE ALL ON FUNCTION {written} FROM PUBLIC")
    run(f"GRANT EXECUTE ON FUNCTION {written} TO ledgerline_app")
    run(f"GRANT SELECT, INSERT, UPDATE ON {table} TO ledgerline_app")
    run(f"GRANT SELECT ON {table} TO ledgerline_api")
    run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    run(f"CREATE POLICY app ON {table} TO ledgerline_app USING (true) WITH CHECK (true)")
    run(f"CREATE POLICY api ON {table} FOR SELECT TO ledgerline_api USING ({ADMIN} OR ({OF_MERCHANT}))")
