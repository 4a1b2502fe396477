-- Growth: movements and entries in one partition for each period of recorded time, so that what is hot stays small.

-- One row a period: movements and entries recorded at or after lower_at and before upper_at. The last one is
-- open (upper_at is infinity): a period that nobody made in time is no reason not to post.
CREATE TABLE ledger_periods (
    upper_at timestamptz PRIMARY KEY,
    lower_at timestamptz NOT NULL,
    archived_at timestamptz,
    CHECK (lower_at < upper_at)
);

-- Where a movement's key is unique for ever, whatever partition the movement is in, or if it is archived.
-- amount_minor and fingerprint: what a repetition under the same key must agree in.
CREATE TABLE movement_keys (
    key text PRIMARY KEY,
    movement_id bigint NOT NULL,
    amount_minor bigint NOT NULL,
    fingerprint bytea NOT NULL
);

CREATE FUNCTION ledger_partition(p_table text, p_upper timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT p_table || CASE WHEN p_upper = 'infinity' THEN '_open'
        ELSE '_before_' || to_char(p_upper AT TIME ZONE 'UTC', 'YYYYMMDD"t"HH24MISSUS') END
$$;

-- What a partition needs beyond what its parent gives it: numbers that are unique, and guards that hold whoever
-- names the partition itself. Nobody but the owner gets a right on it.
CREATE FUNCTION guard_ledger_partition(p_table text, p_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (id)', p_name);
    EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT'
        ' EXECUTE FUNCTION refuse_change()', p_table || '_append_only', p_name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', p_name, p_table || '_append_only');
    IF p_table = 'entries' THEN
        EXECUTE format('CREATE TRIGGER entries_balance AFTER INSERT ON %I REFERENCING NEW TABLE AS added'
            ' FOR EACH STATEMENT EXECUTE FUNCTION check_entries_balance()', p_name);
    END IF;
END
$$;

-- The bounds of a period as a partition states them.
CREATE FUNCTION ledger_period_bounds(p_lower timestamptz, p_upper timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT format('FOR VALUES FROM (%s) TO (%s)',
        CASE WHEN p_lower = '-infinity' THEN 'MINVALUE' ELSE quote_literal(p_lower) END,
        CASE WHEN p_upper = 'infinity' THEN 'MAXVALUE' ELSE quote_literal(p_upper) END)
$$;

CREATE FUNCTION add_ledger_period(p_lower timestamptz, p_upper timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['movements', 'entries'] LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %I ', ledger_partition(v_table, p_upper), v_table)
            || ledger_period_bounds(p_lower, p_upper);
        PERFORM guard_ledger_partition(v_table, ledger_partition(v_table, p_upper));
    END LOOP;
    INSERT INTO ledger_periods (upper_at, lower_at) VALUES (p_upper, p_lower);
END
$$;

-- End the period that an instant still to come falls into at that instant, and let another reach to its old end.
-- Nothing moves: what is recorded stays in its partition. Posting waits meanwhile; if readers hold the tables for
-- longer than the time-out, nothing is done.
CREATE FUNCTION end_ledger_period(p_upper timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    v_period ledger_periods;
    v_table text;
BEGIN
    LOCK TABLE ledger_turn IN SHARE ROW EXCLUSIVE MODE;
    LOCK TABLE movements, entries IN ACCESS EXCLUSIVE MODE;
    SELECT * INTO v_period FROM ledger_periods WHERE lower_at < p_upper AND p_upper < upper_at;
    IF NOT FOUND OR p_upper <= (SELECT last_recorded_at FROM ledger_clock) THEN
        RAISE EXCEPTION 'no period can end at %: one does already, or something is recorded later', p_upper
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH v_table IN ARRAY ARRAY['movements', 'entries'] LOOP
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', v_table, ledger_partition(v_table, v_period.upper_at));
        EXECUTE format('ALTER TABLE %I RENAME TO %I', ledger_partition(v_table, v_period.upper_at),
            ledger_partition(v_table, p_upper));
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I ', v_table, ledger_partition(v_table, p_upper))
            || ledger_period_bounds(v_period.lower_at, p_upper);
    END LOOP;
    UPDATE ledger_periods SET upper_at = p_upper WHERE upper_at = v_period.upper_at;
    PERFORM add_ledger_period(p_upper, v_period.upper_at);
END
$$;

-- Make sure that bounded periods, one a calendar month (UTC), reach beyond an instant; return how many were made.
CREATE FUNCTION extend_ledger_periods(p_until timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_lower timestamptz;
    v_made integer := 0;
BEGIN
    IF p_until > clock_timestamp() + interval '2 years' THEN
        RAISE EXCEPTION 'periods are made for two years ahead at most' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOOP
        SELECT lower_at INTO STRICT v_lower FROM ledger_periods WHERE upper_at = 'infinity';
        EXIT WHEN v_lower > p_until;
        -- If nobody made periods in time, the open one ends with the month of what was recorded last.
        PERFORM end_ledger_period(date_trunc('month', greatest(v_lower, last_recorded_at), 'UTC') + interval '1 month')
        FROM ledger_clock;
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END
$$;

-- What the planner believes of the whole tables: PostgreSQL looks after each partition by itself, not after these.
CREATE FUNCTION analyze_ledger() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    ANALYZE movements, entries;
END
$$;
