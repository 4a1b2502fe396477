"""Events of a batch are written with less work: what a posting pays for its event is most of what it costs."""

from pathlib import Path

from ledger.migrations.rewriting import run

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "events.sql"


def upgrade() -> None:
    """Replace the function; what it writes is the same."""
    run(SQL.read_text(encoding="utf-8"))


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
