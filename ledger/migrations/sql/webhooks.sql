-- Webhook delivery: where each endpoint stands, what was sent, and the hash chain of events.

-- One row of kind 'live' an endpoint, made with it, and one for each replay. Every event up to `sequence` has
-- been delivered or has a row in webhook_deliveries that is retried by itself. `failures` and `next_attempt_at`
-- are those of the event the cursor is stuck at. Only the holder of the live row's `lease` writes progress.
CREATE TABLE webhook_cursors (
    id text PRIMARY KEY,
    endpoint_id text NOT NULL,
    merchant_id text NOT NULL,
    mode text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('live', 'replay')),
    sequence bigint NOT NULL,
    until_sequence bigint,
    failures integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_success_at timestamptz,
    lease text,
    busy_until timestamptz NOT NULL DEFAULT '-infinity',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((kind = 'live') = (until_sequence IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX webhook_cursors_by_endpoint ON webhook_cursors (endpoint_id, created_at);

-- `queued`: retried by itself at `next_attempt_at`. Otherwise a pending one is retried by the cursor stuck at it.
-- `failures` counts within the present schedule, `attempts` for ever.
CREATE TABLE webhook_deliveries (
    endpoint_id text NOT NULL,
    sequence bigint NOT NULL,
    merchant_id text NOT NULL,
    mode text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'succeeded', 'dead')),
    attempts integer NOT NULL,
    failures integer NOT NULL,
    queued boolean NOT NULL,
    next_attempt_at timestamptz,
    first_attempt_at timestamptz NOT NULL,
    last_attempt_at timestamptz NOT NULL,
    PRIMARY KEY (endpoint_id, sequence),
    CHECK (NOT queued OR (status = 'pending' AND next_attempt_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE queued;
CREATE INDEX webhook_deliveries_unfinished ON webhook_deliveries (endpoint_id, status, sequence)
    WHERE status <> 'succeeded';

CREATE TABLE webhook_attempts (
    endpoint_id text NOT NULL,
    sequence bigint NOT NULL,
    number integer NOT NULL,
    merchant_id text NOT NULL,
    mode text NOT NULL,
    attempted_at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    response_status integer,
    error text,
    response text,
    PRIMARY KEY (endpoint_id, sequence, number)
);

-- An endpoint hears of what happens after it was made, its own making included.
CREATE FUNCTION open_webhook_cursor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_cursors (id, endpoint_id, merchant_id, mode, kind, sequence)
    SELECT NEW.id, NEW.id, NEW.merchant_id, NEW.mode, 'live', coalesce((NEW.internal ->> 'start_after')::bigint,
        (SELECT s.last_sequence FROM event_sequences s WHERE s.merchant_id = NEW.merchant_id AND s.mode = NEW.mode), 0);
    RETURN NULL;
END
$$;
CREATE TRIGGER webhook_endpoints_cursor AFTER INSERT ON webhook_endpoints
    FOR EACH ROW EXECUTE FUNCTION open_webhook_cursor();

-- Store what was tried: p_deliveries one row an event, p_attempts one row a request, in order within an event.
CREATE FUNCTION write_webhook_attempts(
    p_endpoint text, p_merchant text, p_mode text, p_deliveries jsonb, p_attempts jsonb
) RETURNS void LANGUAGE sql AS $$
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(p_deliveries) AS x (sequence bigint, event_id text, event_type text,
            status text, tries integer, failures integer, queued boolean, next_attempt_at timestamptz,
            first_attempt_at timestamptz, last_attempt_at timestamptz)
    ), stored AS (
        INSERT INTO webhook_deliveries AS d (endpoint_id, sequence, merchant_id, mode, event_id, event_type, status,
            attempts, failures, queued, next_attempt_at, first_attempt_at, last_attempt_at)
        SELECT p_endpoint, g.sequence, p_merchant, p_mode, g.event_id, g.event_type, g.status, g.tries, g.failures,
            g.queued, g.next_attempt_at, g.first_attempt_at, g.last_attempt_at
        FROM given g ORDER BY g.sequence
        ON CONFLICT (endpoint_id, sequence) DO UPDATE SET status = excluded.status,
            attempts = d.attempts + excluded.attempts, failures = excluded.failures, queued = excluded.queued,
            next_attempt_at = excluded.next_attempt_at, last_attempt_at = excluded.last_attempt_at
        RETURNING d.sequence, d.attempts
    )
    INSERT INTO webhook_attempts (endpoint_id, sequence, number, merchant_id, mode, attempted_at, duration_ms,
        response_status, error, response)
    SELECT p_endpoint, a.sequence, s.attempts - g.tries + a.nth, p_merchant, p_mode, a.attempted_at, a.duration_ms,
        a.response_status, a.error, a.response
    FROM jsonb_to_recordset(p_attempts) AS a (sequence bigint, nth integer, attempted_at timestamptz,
        duration_ms integer, response_status integer, error text, response text)
    JOIN given g USING (sequence) JOIN stored s USING (sequence)
$$;

-- The last sequence of a merchant's events recorded before an instant: both rise together, so it is searched for
-- by halving, without an index by time.
CREATE FUNCTION event_sequence_before(p_merchant text, p_mode text, p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_low bigint := 0;
    v_high bigint;
    v_middle bigint;
    v_at timestamptz;
BEGIN
    SELECT coalesce(max(last_sequence), 0) INTO v_high FROM event_sequences
    WHERE merchant_id = p_merchant AND mode = p_mode;
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

ALTER TABLE events ADD COLUMN hash bytea;
ALTER TABLE event_sequences ADD COLUMN last_hash bytea;

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
    e_id text[] := '{}';
    e_type text[] := '{}';
    e_object text[] := '{}';
    e_version integer[] := '{}';
    e_posting integer[] := '{}';
    e_record integer[] := '{}';
    e_sequence bigint[] := '{}';
    e_hash bytea[] := '{}';
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
            WHERE merchant_id = v_merchant AND mode = v_mode FOR UPDATE;
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
        e_id := e_id || v_event.id;
        e_type := e_type || v_event.type;
        e_object := e_object || v_event.object_id;
        e_version := e_version || v_event.version;
        e_posting := e_posting || v_event.n;
        e_record := e_record || v_event.record;
        e_sequence := e_sequence || v_sequence;
        e_hash := e_hash || v_hash;
    END LOOP;
    IF v_merchant IS NULL THEN
        RETURN;
    END IF;
    UPDATE event_sequences SET last_sequence = v_sequence, last_hash = v_hash
    WHERE merchant_id = v_merchant AND mode = v_mode;
    INSERT INTO events (id, merchant_id, mode, sequence, type, object_id, object_version, created_at, document, hash)
    SELECT e.id, p_merchant[e.posting], p_mode[e.posting], e.sequence, e.type, e.object_id, e.version,
        p_recorded[e.posting], r_document[e.record], e.hash
    FROM unnest(e_id, e_type, e_object, e_version, e_posting, e_record, e_sequence, e_hash)
        AS e (id, type, object_id, version, posting, record, sequence, hash);
END
$$;
