"""What rails tell us (an inbox, each notice once) and what their adapters must not forget."""

from ledger.migrations.rewriting import run

revision = "0060"
down_revision = "0030"
branch_labels = None
depends_on = None

ADMIN = "(SELECT current_setting('ledgerline.admin', true)) = 'on'"
INBOX = """
CREATE TABLE rail_notices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rail text NOT NULL,
    event_id text NOT NULL,
    kind text NOT NULL,
    rail_key text,
    rail_reference text,
    notice jsonb NOT NULL,
    status text NOT NULL DEFAULT 'received'
        CONSTRAINT rail_notices_status CHECK (status IN ('received', 'unmatched', 'handled', 'kept')),
    object_id text,
    detail text,
    times_received integer NOT NULL DEFAULT 1,
    tries integer NOT NULL DEFAULT 0,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz DEFAULT clock_timestamp(),
    handled_at timestamptz,
    CONSTRAINT rail_notices_once UNIQUE (rail, event_id)
) WITH (fillfactor = 70);
CREATE INDEX rail_notices_due ON rail_notices (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX rail_notices_by_status ON rail_notices (rail, status, id DESC);
"""
# What a rail calls an order, for notices that don't repeat our key.
REFERENCE = """
CREATE INDEX attempts_by_reference ON attempts (rail, (document ->> 'rail_reference'))
    WHERE document ->> 'rail_reference' IS NOT NULL;
"""
RECORDS = """
CREATE TABLE rail_records (
    rail text NOT NULL,
    key text NOT NULL,
    document jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (rail, key)
) WITH (fillfactor = 70);
CREATE INDEX rail_records_by_content ON rail_records USING gin (document jsonb_path_ops);
CREATE TABLE rail_counters (
    rail text NOT NULL,
    series text NOT NULL,
    last_number bigint NOT NULL,
    PRIMARY KEY (rail, series)
) WITH (fillfactor = 70);
"""


def upgrade() -> None:
    """Make the tables. No merchant is in them: the worker writes, and administrators read what was told."""
    for statements in (INBOX, REFERENCE, RECORDS):
        run(statements)
    for table in ("rail_notices", "rail_records", "rail_counters"):
        run(f"GRANT SELECT, INSERT, UPDATE ON {table} TO ledgerline_app")
        run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        run(f"CREATE POLICY app ON {table} TO ledgerline_app USING (true) WITH CHECK (true)")
    run("GRANT SELECT ON rail_notices TO ledgerline_api")
    run(f"CREATE POLICY api ON rail_notices FOR SELECT TO ledgerline_api USING ({ADMIN})")


def downgrade() -> None:
    """Refuse: what was recorded is never unmade by a schema change."""
    raise NotImplementedError("the books are append-only")
