"""The watermark, and instants that stay over when the database's clock steps back. See `sql/watermark.sql`."""

from pathlib import Path

from ledger.migrations.rewriting import replace_in_function, run

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "watermark.sql"


def upgrade() -> None:
    """Add the watermark, and let postings be recorded after every instant that was promised to be over."""
    run(SQL.read_text(encoding="utf-8"))
    replace_in_function(
        "post_batch",
        (
            "greatest(clock_timestamp(), v_clock.last_recorded_at)",
            "greatest(clock_timestamp(), v_clock.last_recorded_at, timestamptz 'epoch'"
            " + pg_sequence_last_value('ledger_horizon') * interval '1 microsecond')",
        ),
    )


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
