"""Events are numbered from their own last row: no counter to lock and write beside them."""

from pathlib import Path

from ledger.migrations.rewriting import run

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "events.sql"


def upgrade() -> None:
    """Replace what read the counter, and drop it; numbers and hashes stay as they are."""
    run(SQL.read_text(encoding="utf-8"))


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
