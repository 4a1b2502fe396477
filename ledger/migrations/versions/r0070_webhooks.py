"""Webhook endpoints as one more kind of object, what their delivery remembers, and the hash chain of events.

Events recorded before have no hash; the chain of a merchant and mode begins with the first one after.
"""

from pathlib import Path

from ledger.migrations.rewriting import insert_before, run, signature

revision = "0070"
down_revision = "0021"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql"
KIND, TABLE = "webhook_endpoint", "webhook_endpoints"
SHOWN_COLUMNS = "id, merchant_id, mode, status, version, created_at, updated_at, document"
DELIVERY_TABLES = ("webhook_cursors", "webhook_deliveries", "webhook_attempts")
ADMIN = "(SELECT current_setting('ledgerline.admin', true)) = 'on'"
OF_MERCHANT = (
    "merchant_id = (SELECT current_setting('ledgerline.merchant', true))"
    " AND mode = (SELECT current_setting('ledgerline.mode', true))"
)
STORED = f"UNION ALL SELECT s.version, s.document FROM {TABLE} s WHERE p_kind = '{KIND}' AND s.id = p_id\n    "
WRITTEN = f"""IF '{KIND}' = ANY (r_kind) THEN
        v_written := v_written + write_{TABLE}(p_merchant, p_mode, p_status, p_recorded, r_posting, r_kind, r_id,
            r_version, r_document, r_internal);
    END IF;
    """


def upgrade() -> None:
    """Make the tables, let postings store endpoints, and chain events."""
    run((SQL / "records.sql").read_text(encoding="utf-8").format(table=TABLE, kind=KIND, columns=""))
    insert_before("stored_record", "UNION ALL SELECT p.version, p.document FROM policies", STORED)
    insert_before("write_records", "IF 'policy' = ANY (r_kind) THEN", WRITTEN)
    run((SQL / "webhooks.sql").read_text(encoding="utf-8"))
    _guard()


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")


def _guard() -> None:
    functions = (f"write_{TABLE}", "open_webhook_cursor", "write_webhook_attempts")
    for function in (*functions, "event_sequence_before"):
        run(f"REVOKE ALL ON FUNCTION {signature(function)} FROM PUBLIC")
        run(f"GRANT EXECUTE ON FUNCTION {signature(function)} TO ledgerline_app")
    run(f"GRANT EXECUTE ON FUNCTION {signature('event_sequence_before')} TO ledgerline_api")
    # What is sealed of an endpoint is nothing an HTTP reader could ever need.
    run(f"GRANT SELECT ({SHOWN_COLUMNS}) ON {TABLE} TO ledgerline_api")
    for table in (TABLE, *DELIVERY_TABLES):
        run(f"GRANT SELECT, INSERT, UPDATE ON {table} TO ledgerline_app")
        if table != TABLE:
            run(f"GRANT SELECT ON {table} TO ledgerline_api")
        run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        run(f"CREATE POLICY app ON {table} TO ledgerline_app USING (true) WITH CHECK (true)")
        run(f"CREATE POLICY api ON {table} FOR SELECT TO ledgerline_api USING ({ADMIN} OR ({OF_MERCHANT}))")
