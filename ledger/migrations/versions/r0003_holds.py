"""Changing an account's terms, transfers posted in parts, reversals. Decides nothing: see `sql/holds.sql`."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "holds.sql"


def upgrade() -> None:
    """Add what is missing; nothing that was recorded changes."""
    # The driver's own cursor without parameters: several statements a call, and no meaning for % or :name.
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute(SQL.read_text(encoding="utf-8"))


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
