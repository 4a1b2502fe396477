"""Answers tell which version each stored object is: a repeated step looks for its commit no further than that."""

from ledger.migrations.rewriting import replace_in_function

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the version to what is said of an object."""
    replace_in_function(
        "answers",
        ("jsonb_build_array(r.posting, r.id, s.document)", "jsonb_build_array(r.posting, r.id, s.document, s.version)"),
        ("jsonb_build_array(r.posting, r.id, r.document)", "jsonb_build_array(r.posting, r.id, r.document, r.version)"),
        (
            "unnest(r_posting, r_kind, r_id, r_document) AS r (posting, kind, id, document)",
            "unnest(r_posting, r_kind, r_id, r_version, r_document) AS r (posting, kind, id, version, document)",
        ),
    )


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
