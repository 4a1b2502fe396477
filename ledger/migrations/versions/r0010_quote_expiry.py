"""A quote that has expired by the database's clock can't be used, whatever clock let it pass before."""

from ledger.migrations.rewriting import insert_before

revision = "0010"
down_revision = "0004"
branch_labels = None
depends_on = None

# In the loop over a posting's records. Half-open: at `expires_at` the quote is over.
EXPIRED = """IF r_kind[k] = 'fx_quote' AND r_document[k] ->> 'status' = 'used'
                AND (r_document[k] ->> 'expires_at')::timestamptz <= clock_timestamp() THEN
                v_refusal := jsonb_build_object('code', 'fx_quote_expired', 'object_id', r_id[k], 'detail',
                    'The quote expired at ' || (r_document[k] ->> 'expires_at') || '. Ask for a new one.');
            END IF;
            """


def upgrade() -> None:
    """Check the expiry where a posting is decided; a repetition of one that was posted is not decided again."""
    insert_before("decide_in_turn", "IF r_create[k] AND r_stored[r_first[k]] IS NOT NULL THEN", EXPIRED)


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
