"""What a dispute takes of a charge's refundable amount: a chargeback that is not won; an inquiry took nothing."""

from ledger.migrations.rewriting import replace_in_function

revision = "0040"
down_revision = "0070"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave inquiries (`warning_…`) out of the amounts that refunds are measured against."""
    replace_in_function(
        "refund_room",
        ("AND d.status <> 'won'", "AND d.status <> 'won' AND d.status NOT LIKE 'warning%'"),
    )
    replace_in_function(
        "refund_rooms_after",
        (
            "ELSE p_document ->> 'status' <> 'won' END",
            "ELSE p_document ->> 'status' <> 'won' AND p_document ->> 'status' NOT LIKE 'warning%' END",
        ),
    )


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
