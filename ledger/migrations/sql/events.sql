-- Events of the accepted postings, numbered without gaps per merchant and mode, in posting order; an event that was
-- written before is not numbered again. `record` is the position of its record. Each has the hash over its
-- predecessor's and its own id, sequence, type, instant and document, a line each.
-- Read without a lock: whoever posts has the ledger's turn.
CREATE OR REPLACE FUNCTION write_events(
    p_events jsonb, p_merchant text[], p_mode text[], p_status integer[], p_recorded timestamptz[], r_document jsonb[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_event record;
    v_merchant text;
    v_mode text;
    v_sequence bigint;
    v_hash bytea;
BEGIN
    FOR v_event IN
        SELECT d.n, d.id, d.type, d.object_id, d.version, d.record
        FROM ROWS FROM (jsonb_to_recordset(p_events) AS (n integer, id text, type text, object_id text,
            version integer, record integer)) WITH ORDINALITY AS d (n, id, type, object_id, version, record, nth)
        WHERE p_status[d.n] = 1 AND NOT EXISTS (SELECT FROM events w
            WHERE w.object_id = d.object_id AND w.object_version = d.version AND w.type = d.type)
        ORDER BY p_merchant[d.n], p_mode[d.n], d.nth
    LOOP
        IF p_merchant[v_event.n] IS DISTINCT FROM v_merchant OR p_mode[v_event.n] <> v_mode THEN
            IF v_merchant IS NOT NULL THEN
                UPDATE event_sequences SET last_sequence = v_sequence, last_hash = v_hash
                WHERE merchant_id = v_merchant AND mode = v_mode;
            END IF;
            v_merchant := p_merchant[v_event.n];
            v_mode := p_mode[v_event.n];
            SELECT last_sequence, last_hash INTO v_sequence, v_hash FROM event_sequences
            WHERE merchant_id = v_merchant AND mode = v_mode;
            IF NOT FOUND THEN
                INSERT INTO event_sequences (merchant_id, mode, last_sequence) VALUES (v_merchant, v_mode, 0);
                v_sequence := 0;
            END IF;
            v_hash := coalesce(v_hash, decode(repeat('00', 32), 'hex'));
        END IF;
        v_sequence := v_sequence + 1;
        v_hash := sha256(v_hash || convert_to(v_event.id || E'\n' || v_sequence || E'\n' || v_event.type || E'\n'
            || to_char(p_recorded[v_event.n] AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || E'\n'
            || r_document[v_event.record]::text, 'UTF8'));
        INSERT INTO events (id, merchant_id, mode, sequence, type, object_id, object_version, created_at, document,
            hash)
        VALUES (v_event.id, v_merchant, v_mode, v_sequence, v_event.type, v_event.object_id, v_event.version,
            p_recorded[v_event.n], r_document[v_event.record], v_hash);
    END LOOP;
    IF v_merchant IS NOT NULL THEN
        UPDATE event_sequences SET last_sequence = v_sequence, last_hash = v_hash
        WHERE merchant_id = v_merchant AND mode = v_mode;
    END IF;
END
$$;
