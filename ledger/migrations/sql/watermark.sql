-- The watermark: the instant up to which nothing more can be recorded, and how a reader moves it.

-- The latest instant that was promised to be over, in microseconds since 1970: nothing is recorded at or before
-- it, even if the database's clock steps back. A sequence because a reader's promise must be seen at once by
-- posters, whatever their snapshot, and must outlive the reader's transaction.
CREATE SEQUENCE ledger_horizon AS bigint MINVALUE 0 START 0;

-- The watermark as this snapshot sees it: every entry recorded at or before it is visible, and none will follow.
CREATE FUNCTION ledger_watermark() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT last_recorded_at FROM ledger_clock
$$;

-- Move the watermark to an instant, or to now if that is earlier, and return where it is: from the next statement
-- on, everything recorded at or before it is visible and nothing more can be recorded there. Waits for the batch
-- under way, and writes, only when the instant is above what was recorded last.
-- The promise is made before the wait: who posts after it sees the promise, who posted before it is waited for.
-- Its lock goes with the subtransaction, so readers don't wait for one another's transactions.
CREATE FUNCTION settle_ledger(p_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_promised timestamptz := timestamptz 'epoch'
        + coalesce(pg_sequence_last_value('ledger_horizon'), 0) * interval '1 microsecond';
    v_at timestamptz := least(p_at, greatest(clock_timestamp(), v_promised, ledger_watermark()));
BEGIN
    IF v_at <= ledger_watermark() THEN
        RETURN v_at;
    END IF;
    BEGIN
        PERFORM pg_advisory_xact_lock(7241551904);
        IF coalesce(pg_sequence_last_value('ledger_horizon'), 0) < extract(epoch FROM v_at) * 1000000 THEN
            PERFORM setval('ledger_horizon', (extract(epoch FROM v_at) * 1000000)::bigint);
        END IF;
        RAISE EXCEPTION 'release' USING ERRCODE = 'LL001';
    EXCEPTION WHEN SQLSTATE 'LL001' THEN
        NULL;
    END;
    PERFORM await_ledger_turn();
    RETURN v_at;
END
$$;

REVOKE ALL ON FUNCTION ledger_watermark(), settle_ledger(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_watermark(), settle_ledger(timestamptz) TO ledgerline_app;
GRANT EXECUTE ON FUNCTION ledger_watermark(), settle_ledger(timestamptz) TO ledgerline_api;
GRANT SELECT ON SEQUENCE ledger_horizon TO ledgerline_app;
