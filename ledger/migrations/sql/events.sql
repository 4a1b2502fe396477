-- The numbers of a merchant's events are those of its rows: the last one is read where it stands, under the
-- ledger's turn, so nothing is locked or counted beside. A number given twice would break the primary key.

-- Events of the accepted postings, numbered without gaps per merchant and mode, in posting order; an event that was
-- written before is not numbered again. `record` is the position of its record. Each has the hash over its
-- predecessor's and its own id, sequence, type, instant and document, a line each.
-- One query, one loop, one insert: what a statement costs to start is most of what a small batch pays.
CREATE OR REPLACE FUNCTION write_events(
    p_events jsonb, p_merchant text[], p_mode text[], p_status integer[], p_recorded timestamptz[], r_document jsonb[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_event record;
    v_merchant text;
    v_mode text;
    v_sequence bigint;
    v_hash bytea;
    e_rows events[] := '{}';
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
            v_merchant := p_merchant[v_event.n];
            v_mode := p_mode[v_event.n];
            SELECT sequence, hash INTO v_sequence, v_hash FROM events
            WHERE merchant_id = v_merchant AND mode = v_mode ORDER BY sequence DESC LIMIT 1;
            v_sequence := coalesce(v_sequence, 0);
            v_hash := coalesce(v_hash, decode(repeat('00', 32), 'hex'));
        END IF;
        v_sequence := v_sequence + 1;
        v_hash := sha256(v_hash || convert_to(v_event.id || E'\n' || v_sequence || E'\n' || v_event.type || E'\n'
            || to_char(p_recorded[v_event.n] AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || E'\n'
            || r_document[v_event.record]::text, 'UTF8'));
        e_rows := e_rows || ROW(v_event.id, v_merchant, v_mode, v_sequence, v_event.type, v_event.object_id,
            v_event.version, p_recorded[v_event.n], r_document[v_event.record], v_hash)::events;
    END LOOP;
    IF v_merchant IS NOT NULL THEN
        INSERT INTO events SELECT * FROM unnest(e_rows);
    END IF;
END
$$;

-- An endpoint hears of what happens after it was made, its own making included.
CREATE OR REPLACE FUNCTION open_webhook_cursor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_cursors (id, endpoint_id, merchant_id, mode, kind, sequence)
    SELECT NEW.id, NEW.id, NEW.merchant_id, NEW.mode, 'live', coalesce((NEW.internal ->> 'start_after')::bigint,
        (SELECT max(e.sequence) FROM events e WHERE e.merchant_id = NEW.merchant_id AND e.mode = NEW.mode), 0);
    RETURN NULL;
END
$$;

-- The last sequence of a merchant's events recorded before an instant: both rise together, so it is searched for
-- by halving, without an index by time.
CREATE OR REPLACE FUNCTION event_sequence_before(p_merchant text, p_mode text, p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_low bigint := 0;
    v_high bigint;
    v_middle bigint;
    v_at timestamptz;
BEGIN
    SELECT coalesce(max(sequence), 0) INTO v_high FROM events WHERE merchant_id = p_merchant AND mode = p_mode;
    WHILE v_low < v_high LOOP
        v_middle := (v_low + v_high + 1) / 2;
        SELECT created_at INTO v_at FROM events
        WHERE merchant_id = p_merchant AND mode = p_mode AND sequence = v_middle;
        IF v_at < p_at THEN
            v_low := v_middle;
        ELSE
            v_high := v_middle - 1;
        END IF;
    END LOOP;
    RETURN v_low;
END
$$;

DROP TABLE event_sequences;
