"""Declines of a card, newest first: what its scheme's retry limits are counted by. Decides nothing."""

from ledger.migrations.rewriting import run

revision = "0050"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index; nothing that was recorded changes."""
    run(
        "CREATE INDEX attempts_declined_by_card ON attempts (card_fingerprint, created_at DESC)"
        " WHERE outcome = 'declined' AND flow = 'authorize' AND card_fingerprint IS NOT NULL"
    )


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
