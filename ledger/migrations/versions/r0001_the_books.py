"""The whole first schema: tables, posting functions, guards, grants and row-level security.

Decides who may do what to which table. The SQL itself lives beside this package in `sql/`.
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql"

# Tables of objects written through postings: kind -> (table, columns generated from the document).
RECORD_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "charge": (
        "charges",
        {
            "amount_minor": "bigint GENERATED ALWAYS AS ((document ->> 'amount')::bigint) STORED",
            "amount_captured": "bigint GENERATED ALWAYS AS "
            "(coalesce((document ->> 'amount_captured')::bigint, 0)) STORED",
            "currency": "text GENERATED ALWAYS AS (document ->> 'currency') STORED",
            "rail": "text GENERATED ALWAYS AS (document ->> 'rail') STORED",
            "account": "text GENERATED ALWAYS AS (document ->> 'account') STORED",
            "source": "text GENERATED ALWAYS AS (document ->> 'source') STORED",
        },
    ),
    "refund": (
        "refunds",
        {
            "charge_id": "text GENERATED ALWAYS AS (document ->> 'charge') STORED",
            "amount_minor": "bigint GENERATED ALWAYS AS ((document ->> 'amount')::bigint) STORED",
        },
    ),
    "payout": ("payouts", {}),
    "transfer": ("transfers", {}),
    "dispute": (
        "disputes",
        {
            "charge_id": "text GENERATED ALWAYS AS (document ->> 'charge') STORED",
            "amount_minor": "bigint GENERATED ALWAYS AS ((document ->> 'amount')::bigint) STORED",
        },
    ),
    "attempt": (
        "attempts",
        {
            column: f"text GENERATED ALWAYS AS (coalesce(document ->> '{column}', internal ->> '{column}')) STORED"
            for column in ("operation_id", "rail", "outcome", "card_fingerprint", "flow")
        },
    ),
    "exception": ("exceptions", {}),
    "token": ("vault_tokens", {}),
}
RECORD_INDEXES = (
    "CREATE INDEX refunds_by_charge ON refunds (charge_id)",
    "CREATE INDEX disputes_by_charge ON disputes (charge_id)",
    "CREATE INDEX attempts_by_operation ON attempts (operation_id)",
    "CREATE INDEX attempts_by_card ON attempts (card_fingerprint, created_at) WHERE card_fingerprint IS NOT NULL",
)
APPEND_ONLY = (
    "movements",
    "entries",
    "ledger_transactions",
    "events",
    "audit_records",
    "idempotency_keys",
    "hold_changes",
)
APP_MAY_UPDATE = ("policies", "accounts", "ledger_clock", "ledger_turn", "holds", "event_sequences", "vault_data_keys")
ADMIN = "(SELECT current_setting('ledgerline.admin', true)) = 'on'"
MERCHANT = "(SELECT current_setting('ledgerline.merchant', true))"
MODE = "(SELECT current_setting('ledgerline.mode', true))"
OF_MERCHANT = f"merchant_id = {MERCHANT} AND mode = {MODE}"
OF_ACCOUNT = "EXISTS (SELECT FROM accounts a WHERE a.id = {column})"


def upgrade() -> None:
    """Build everything as the schema's owner."""
    _run(_read("tables.sql"))
    for kind, (table, columns) in RECORD_TABLES.items():
        generated = "".join(f",\n    {name} {definition}" for name, definition in columns.items())
        _run(_read("records.sql").format(table=table, kind=kind, columns=generated))
    for statement in RECORD_INDEXES:
        _run(statement)
    _run(_read("decide.sql").format(stored_kinds=_stored_kinds()))
    _run(_read("write.sql"))
    _run(_read("answers.sql").format(write_kinds=_write_kinds()))
    _run(_read("post.sql"))
    _run(_read("guards.sql"))
    _guard_append_only()
    _grant()
    _separate_rows()


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")


def _read(name: str) -> str:
    return (SQL / name).read_text(encoding="utf-8")


def _run(sql: str) -> None:
    # The driver's own cursor without parameters: several statements a call, and no meaning for % or :name.
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute(sql)


def _stored_kinds() -> str:
    return "\n    UNION ALL ".join(
        f"SELECT s.version, s.document FROM {table} s WHERE p_kind = '{kind}' AND s.id = p_id"
        for kind, (table, _) in RECORD_TABLES.items()
    )


def _write_kinds() -> str:
    arguments = "p_merchant, p_mode, p_status, p_recorded, r_posting, r_kind, r_id, r_version, r_document, r_internal"
    return "\n    ".join(
        f"IF '{kind}' = ANY (r_kind) THEN\n        v_written := v_written + write_{table}({arguments});\n    END IF;"
        for kind, (table, _) in RECORD_TABLES.items()
    )


def _guard_append_only() -> None:
    for table in APPEND_ONLY:
        name = f"{table}_append_only"
        _run(
            f"CREATE TRIGGER {name} BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
        )


def _grant() -> None:
    records = ", ".join(table for table, _ in RECORD_TABLES.values())
    _run("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
    _run("GRANT USAGE ON SCHEMA public TO ledgerline_app, ledgerline_api")
    _run("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO ledgerline_app")
    _run("REVOKE INSERT ON ledger_clock, ledger_turn, alembic_version FROM ledgerline_app")
    _run(f"GRANT UPDATE ON {records}, {', '.join(APP_MAY_UPDATE)}, merchants, api_keys TO ledgerline_app")
    _run("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ledgerline_app")
    _run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO ledgerline_app")
    _run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO ledgerline_api")
    _run("REVOKE SELECT ON vault_data_keys, vault_tokens, ledger_turn, alembic_version FROM ledgerline_api")
    _run(
        "GRANT SELECT (id, merchant_id, mode, status, version, created_at, updated_at, document)"
        " ON vault_tokens TO ledgerline_api"
    )
    _run("GRANT INSERT ON merchants, api_keys TO ledgerline_api")
    _run("GRANT UPDATE (revoked_at) ON api_keys TO ledgerline_api")
    _run(
        "GRANT EXECUTE ON FUNCTION await_ledger_turn(), entry_id(bigint), public_account(text), entries_of(bigint)"
        " TO ledgerline_api"
    )


def _separate_rows() -> None:
    of_merchant = (
        *(table for table, _ in RECORD_TABLES.values()),
        *("api_keys", "policies", "accounts", "ledger_transactions", "idempotency_keys"),
        *("event_sequences", "events", "audit_records"),
    )
    policies = dict.fromkeys(of_merchant, OF_MERCHANT)
    policies["merchants"] = f"id = {MERCHANT}"
    policies["entries"] = OF_ACCOUNT.format(column="account_id")
    policies["hold_changes"] = OF_ACCOUNT.format(column="account_id")
    policies["holds"] = (
        OF_ACCOUNT.format(column="credit_account_id") + " OR " + OF_ACCOUNT.format(column="debit_account_id")
    )
    policies["movements"] = "EXISTS (SELECT FROM ledger_transactions t WHERE t.id = ledger_transaction_id)"
    for table, visible in policies.items():
        _run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        _run(f"CREATE POLICY app ON {table} TO ledgerline_app USING (true) WITH CHECK (true)")
        _run(f"CREATE POLICY api ON {table} FOR SELECT TO ledgerline_api USING ({ADMIN} OR ({visible}))")
    for table in ("merchants", "api_keys"):
        _run(f"CREATE POLICY admin_adds ON {table} FOR INSERT TO ledgerline_api WITH CHECK ({ADMIN})")
    _run(f"CREATE POLICY admin_revokes ON api_keys FOR UPDATE TO ledgerline_api USING ({ADMIN}) WITH CHECK ({ADMIN})")
