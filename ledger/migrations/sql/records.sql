-- One table of objects ({table}, kind {kind}) and the statement that stores their new versions.

CREATE TABLE {table} (
    id text PRIMARY KEY,
    merchant_id text NOT NULL,
    mode text NOT NULL,
    status text NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    document jsonb NOT NULL,
    internal jsonb NOT NULL{columns}
) WITH (fillfactor = 70);
CREATE INDEX {table}_by_merchant ON {table} (merchant_id, mode, id DESC);
CREATE INDEX {table}_by_status ON {table} (status, updated_at);

-- Store the records of kind {kind} of the postings accepted, where newer than what is stored.
CREATE FUNCTION write_{table}(
    p_merchant text[], p_mode text[], p_status integer[], p_recorded timestamptz[],
    r_posting integer[], r_kind text[], r_id text[], r_version integer[], r_document jsonb[], r_internal jsonb[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_written bigint;
BEGIN
    INSERT INTO {table} AS stored
        (id, merchant_id, mode, status, version, created_at, updated_at, document, internal)
    SELECT DISTINCT ON (r.id)
        r.id, p_merchant[r.posting], p_mode[r.posting],
        coalesce(r.document ->> 'status', r.document ->> 'outcome', ''), r.version,
        coalesce((r.document ->> 'created_at')::timestamptz, p_recorded[r.posting]), p_recorded[r.posting],
        r.document, r.internal
    FROM unnest(r_posting, r_kind, r_id, r_version, r_document, r_internal)
        AS r (posting, kind, id, version, document, internal)
    WHERE r.kind = '{kind}' AND p_status[r.posting] = 1
    ORDER BY r.id, r.version DESC, r.posting
    ON CONFLICT (id) DO UPDATE SET
        status = excluded.status, version = excluded.version, updated_at = excluded.updated_at,
        document = excluded.document, internal = stored.internal || excluded.internal
    WHERE stored.version < excluded.version;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;
