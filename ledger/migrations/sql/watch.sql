-- What the invariant watch knows: how far the book was verified, and what it was found to be.

-- One row. Every movement up to movement_id and its entries are verified. The patrol verifies old rows again, a
-- slice at a time, and goes on after patrol_*. guards: the catalogue's rows of the append-only triggers, as they
-- were when the whole book was last proved; another value means that somebody may have had a way around them.
CREATE TABLE ledger_watch (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    movement_id bigint NOT NULL,
    patrol_movement_id bigint NOT NULL,
    patrol_account_id bigint NOT NULL,
    guards text
) WITH (fillfactor = 10);
INSERT INTO ledger_watch VALUES (true, 0, 0, 0, NULL);

-- Sums over the verified entries, so that the whole book's are known without reading it.
CREATE TABLE ledger_watch_totals (
    currency text PRIMARY KEY,
    debits_minor bigint NOT NULL,
    credits_minor bigint NOT NULL,
    entries bigint NOT NULL
) WITH (fillfactor = 10);

-- Each account after its last verified entry (entry_id is null before its first).
CREATE TABLE ledger_watch_accounts (
    account_id bigint PRIMARY KEY,
    balance_minor bigint NOT NULL,
    sequence bigint NOT NULL,
    entry_id bigint,
    recorded_at timestamptz,
    pending_debits_minor bigint NOT NULL,
    pending_credits_minor bigint NOT NULL
) WITH (fillfactor = 60);

-- The last report of each kind of run, as GET /v1/ledger/invariants shows it.
CREATE TABLE ledger_watch_reports (
    kind text PRIMARY KEY CHECK (kind IN ('incremental', 'full')),
    reported_at timestamptz NOT NULL,
    document jsonb NOT NULL
) WITH (fillfactor = 50);

-- Every violation ever found, once. gone_at: the whole book was proved and it was not there any more.
-- acknowledged_at: a person lifted the stop of payouts knowing of it, so it stops nothing again.
CREATE TABLE ledger_violations (
    fingerprint text PRIMARY KEY,
    kind text NOT NULL,
    account text,
    entry text,
    currency text,
    detail text NOT NULL,
    found_by text NOT NULL,
    found_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    gone_at timestamptz,
    acknowledged_at timestamptz
);
CREATE INDEX ledger_violations_open ON ledger_violations (found_at) WHERE gone_at IS NULL AND acknowledged_at IS NULL;

-- The triggers that make the books append-only, one text per table or partition that needs one. A trigger's row has
-- a new xmin after it was switched off, even when it is on again. SECURITY DEFINER: pg_partition_tree needs nothing,
-- but who asks shall not be able to hide a schema from the search.
CREATE FUNCTION ledger_guards() RETURNS TABLE (relation text, in_force boolean, fingerprint text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.relid::regclass::text, coalesce(bool_or(t.tgenabled = 'A'), false),
        coalesce(string_agg(concat_ws(' ', t.oid, t.xmin, t.tgenabled), ', ' ORDER BY t.oid), '')
    FROM unnest(ARRAY['movements', 'entries', 'ledger_transactions', 'events', 'audit_records', 'idempotency_keys',
        'hold_changes']) name
    CROSS JOIN LATERAL (SELECT relid FROM pg_partition_tree(name::regclass) UNION SELECT name::regclass) p
    LEFT JOIN pg_trigger t ON t.tgrelid = p.relid AND t.tgfoid = 'refuse_change'::regproc
    GROUP BY p.relid
$$;
