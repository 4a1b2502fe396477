"""What the invariant watch keeps: how far the book is verified and what was found (`sql/watch.sql`)."""

from pathlib import Path

from ledger.migrations.rewriting import run

revision = "0030"
down_revision = "0090"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "watch.sql"
STATE = "ledger_watch, ledger_watch_totals, ledger_watch_accounts, ledger_watch_reports, ledger_violations"


def upgrade() -> None:
    """Add what is missing; the first runs of the watch verify what was recorded before it."""
    run(SQL.read_text(encoding="utf-8"))
    run(f"GRANT SELECT, INSERT, UPDATE ON {STATE} TO ledgerline_app")
    run("REVOKE INSERT ON ledger_watch FROM ledgerline_app")
    run(f"GRANT SELECT ON {STATE} TO ledgerline_api")
    run("REVOKE ALL ON FUNCTION ledger_guards() FROM PUBLIC")
    run("GRANT EXECUTE ON FUNCTION ledger_guards() TO ledgerline_app, ledgerline_api")


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
