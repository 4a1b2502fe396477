"""FX quotes: their table as one more kind of object, and the currency of each entry a transfer answers with.

Decides nothing about rates. The functions that list every kind of object are rewritten from what the
database holds, not from a copy of the first revision: revisions that add other kinds may run before or
after this one.
"""

from pathlib import Path
from typing import Any

from alembic import op

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
    _run((SQL / "records.sql").read_text(encoding="utf-8").format(table=TABLE, kind=KIND, columns=""))
    _insert_before("stored_record", "UNION ALL SELECT p.version, p.document FROM policies", STORED)
    _insert_before("write_records", "IF 'policy' = ANY (r_kind) THEN", WRITTEN)
    _replace(
        "with_entries",
        ("m_amount bigint[], a_code", "m_amount bigint[], m_currency text[], a_code"),
        ("'balance', l_balance[leg]", "'currency', m_currency[(leg + 1) / 2], 'balance', l_balance[leg]"),
    )
    _replace("post_batch", ("m_debit, m_credit, m_amount, a_code", "m_debit, m_credit, m_amount, m_currency, a_code"))
    _run(f"DROP FUNCTION {_signature('with_entries', without='m_currency')}")
    _guard()


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")


def _guard() -> None:
    written = _signature(f"write_{TABLE}")
    entries = _signature("with_entries")
    _run(f"REVOKE ALL ON FUNCTION {written}, {entries} FROM PUBLIC")
    _run(f"GRANT EXECUTE ON FUNCTION {written}, {entries} TO ledgerline_app")
    _run(f"GRANT SELECT, INSERT, UPDATE ON {TABLE} TO ledgerline_app")
    _run(f"GRANT SELECT ON {TABLE} TO ledgerline_api")
    _run(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    _run(f"CREATE POLICY app ON {TABLE} TO ledgerline_app USING (true) WITH CHECK (true)")
    _run(f"CREATE POLICY api ON {TABLE} FOR SELECT TO ledgerline_api USING ({ADMIN} OR ({OF_MERCHANT}))")


def _insert_before(function: str, anchor: str, text: str) -> None:
    _replace(function, (anchor, text + anchor))


def _replace(function: str, *changes: tuple[str, str]) -> None:
    """Rewrite a function of the schema; what each change replaces must be there exactly once."""
    (definition,) = _column(f"SELECT pg_get_functiondef(oid) FROM pg_proc WHERE {_named(function)}")
    for old, new in changes:
        assert definition.count(old) == 1, f"{function} is not as this revision knows it"
        definition = definition.replace(old, new)
    _run(definition)


def _signature(function: str, without: str | None = None) -> str:
    """Return `name(types)` of a function; of several, the one that has no argument `without`."""
    condition = f" AND NOT '{without}' = ANY (proargnames)" if without else ""
    (signature,) = _column(f"SELECT oid::regprocedure::text FROM pg_proc WHERE {_named(function)}{condition}")
    return signature


def _named(function: str) -> str:
    return f"proname = '{function}' AND pronamespace = 'public'::regnamespace"


def _column(sql: str) -> list[str]:
    return [str(row[0]) for row in _driver().execute(sql).fetchall()]


def _run(sql: str) -> None:
    # The driver's own cursor without parameters: several statements a call, and no meaning for % or :name.
    _driver().execute(sql)


def _driver() -> Any:
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    return driver_connection
