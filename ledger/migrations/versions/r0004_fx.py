"""FX quotes: their table as one more kind of object, and the currency of each entry a transfer answers with.

Decides nothing about rates.
"""

from pathlib import Path

from ledger.migrations.rewriting import insert_before, replace_in_function, run, signature

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql"
KIND, TABLE = "fx_quote", "fx_quotes"
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
    """Make the table, let postings store quotes, and let entries say their currency."""
    run((SQL / "records.sql").read_text(encoding="utf-8").format(table=TABLE, kind=KIND, columns=""))
    insert_before("stored_record", "UNION ALL SELECT p.version, p.document FROM policies", STORED)
    insert_before("write_records", "IF 'policy' = ANY (r_kind) THEN", WRITTEN)
    replace_in_function(
        "with_entries",
        ("m_amount bigint[], a_code", "m_amount bigint[], m_currency text[], a_code"),
        ("'balance', l_balance[leg]", "'currency', m_currency[(leg + 1) / 2], 'balance', l_balance[leg]"),
    )
    replace_in_function(
        "post_batch", ("m_debit, m_credit, m_amount, a_code", "m_debit, m_credit, m_amount, m_currency, a_code")
    )
    run(f"DROP FUNCTION {signature('with_entries', without='m_currency')}")
    _guard()


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")


def _guard() -> None:
    written = signature(f"write_{TABLE}")
    entries = signature("with_entries")
    run(f"REVOKE ALL ON FUNCTION {written}, {entries} FROM PUBLIC")
    run(f"GRANT EXECUTE ON FUNCTION {written}, {entries} TO ledgerline_app")
    run(f"GRANT SELECT, INSERT, UPDATE ON {TABLE} TO ledgerline_app")
    run(f"GRANT SELECT ON {TABLE} TO ledgerline_api")
    run(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    run(f"CREATE POLICY app ON {TABLE} TO ledgerline_app USING (true) WITH CHECK (true)")
    run(f"CREATE POLICY api ON {TABLE} FOR SELECT TO ledgerline_api USING ({ADMIN} OR ({OF_MERCHANT}))")
