"""Posting as one statement that takes the turn and commits by itself. Decides nothing: see `sql/turn.sql`."""

from pathlib import Path

from ledger.migrations.rewriting import run

revision = "0020"
down_revision = "0060"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "turn.sql"


def upgrade() -> None:
    """Add the procedure; what older posters call stays."""
    run(SQL.read_text(encoding="utf-8"))


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
