-- One table of objects that never change ({table}, kind {kind}): one version each, and the statement that stores it.

CREATE TABLE {table} (
    id text PRIMARY KEY,
    merchant_id text NOT NULL,
    mode text NOT NULL,
    status text NOT NULL,
    version integer NOT NULL CHECK (version = 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    document jsonb NOT NULL,
    internal jsonb NOT NULL
);
CREATE INDEX {table}_by_recorded_at ON {table} (updated_at DESC);

-- Store the records of kind {kind} of the postings accepted. updated_at is when the ledger recorded it.
CREATE FUNCTION write_{table}(
    p_merchant text[], p_mode text[], p_status integer[], p_recorded timestamptz[],
    r_posting integer[], r_kind text[], r_id text[], r_version integer[], r_document jsonb[], r_internal jsonb[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_written bigint;
BEGIN
    INSERT INTO {table} (id, merchant_id, mode, status, version, created_at, updated_at, document, internal)
    SELECT DISTINCT ON (r.id)
        r.id, p_merchant[r.posting], p_mode[r.posting], coalesce(r.document ->> 'status', ''), r.version,
        coalesce((r.document ->> 'created_at')::timestamptz, p_recorded[r.posting]), p_recorded[r.posting],
        r.document, r.internal
    FROM unnest(r_posting, r_kind, r_id, r_version, r_document, r_internal)
        AS r (posting, kind, id, version, document, internal)
    WHERE r.kind = '{kind}' AND p_status[r.posting] = 1
    ORDER BY r.id, r.posting
    ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;

CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
