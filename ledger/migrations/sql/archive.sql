-- Archiving: the oldest period leaves the book; what it came to for each account stays.

-- An account's balance and entry count where an archived period ended: what its entries would still tell.
CREATE TABLE carried_balances (
    account_id bigint NOT NULL,
    carried_at timestamptz NOT NULL,
    balance_minor bigint NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (account_id, carried_at)
);

-- Partitions that left the book lie here until somebody has exported and dropped them. The owner's alone.
CREATE SCHEMA ledger_archive;

-- Where the book begins: nothing is known any more of instants before it. Null while nothing is archived.
CREATE FUNCTION books_begin() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT max(upper_at) FROM ledger_periods WHERE archived_at IS NOT NULL
$$;

-- Why the period that ends at an instant can't be archived, or null. The proof of the books is not part of it.
CREATE FUNCTION refuse_archive(p_upper timestamptz) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_period ledger_periods;
    v_last bigint;
BEGIN
    SELECT * INTO v_period FROM ledger_periods WHERE upper_at = p_upper;
    IF NOT FOUND OR v_period.archived_at IS NOT NULL THEN
        RETURN 'no period of the book ends at ' || p_upper;
    ELSIF v_period.lower_at <> coalesce(books_begin(), '-infinity') THEN
        RETURN 'an older period is not archived yet';
    ELSIF p_upper > ledger_watermark() THEN
        RETURN 'the period is not over';
    END IF;
    SELECT max(id) INTO v_last FROM movements WHERE recorded_at < p_upper;
    IF v_last > (SELECT movement_id FROM ledger_watch) THEN
        RETURN 'the invariant watch has not verified the period yet';
    ELSIF EXISTS (SELECT FROM entries WHERE recorded_at < p_upper AND effective_at >= p_upper) THEN
        RETURN 'an entry of the period counts from a later instant than its end';
    END IF;
    RETURN NULL;
END
$$;

-- Archive the oldest period, whose end is given. What it came to is worked out first, while posting goes on.
CREATE FUNCTION archive_ledger_period(p_upper timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    v_refusal text;
    v_table text;
BEGIN
    LOCK TABLE ledger_watch IN SHARE ROW EXCLUSIVE MODE;
    v_refusal := refuse_archive(p_upper);
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION '%', v_refusal USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO carried_balances (account_id, carried_at, balance_minor, sequence)
    SELECT DISTINCT ON (account_id) account_id, p_upper, balance_minor, sequence
    FROM entries WHERE recorded_at < p_upper ORDER BY account_id, recorded_at DESC;
    -- The watch holds what it verified against what is there: take out of it what leaves.
    UPDATE ledger_watch_totals t SET debits_minor = t.debits_minor - s.debits, credits_minor = t.credits_minor - s.credits,
        entries = t.entries - s.entries
    FROM (
        SELECT a.currency, count(*) AS entries,
            coalesce(sum(e.amount_minor) FILTER (WHERE e.direction = 'debit'), 0) AS debits,
            coalesce(sum(e.amount_minor) FILTER (WHERE e.direction = 'credit'), 0) AS credits
        FROM entries e JOIN accounts a ON a.id = e.account_id WHERE e.recorded_at < p_upper GROUP BY a.currency
    ) s WHERE s.currency = t.currency;
    UPDATE ledger_watch_accounts SET entry_id = NULL WHERE recorded_at < p_upper;

    LOCK TABLE ledger_turn IN SHARE ROW EXCLUSIVE MODE;
    LOCK TABLE movements, entries IN ACCESS EXCLUSIVE MODE;
    FOREACH v_table IN ARRAY ARRAY['movements', 'entries'] LOOP
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', v_table, ledger_partition(v_table, p_upper));
        EXECUTE format('ALTER TABLE %I SET SCHEMA ledger_archive', ledger_partition(v_table, p_upper));
    END LOOP;
    UPDATE ledger_periods SET archived_at = clock_timestamp() WHERE upper_at = p_upper;
END
$$;

CREATE TRIGGER carried_balances_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON carried_balances
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE carried_balances ENABLE ALWAYS TRIGGER carried_balances_append_only;
ALTER TABLE carried_balances ENABLE ROW LEVEL SECURITY;
CREATE POLICY app ON carried_balances FOR SELECT TO ledgerline_app USING (true);
CREATE POLICY api ON carried_balances FOR SELECT TO ledgerline_api
    USING ((SELECT current_setting('ledgerline.admin', true)) = 'on' OR EXISTS (SELECT FROM accounts a WHERE a.id = account_id));
GRANT SELECT ON carried_balances TO ledgerline_app, ledgerline_api;
REVOKE ALL ON FUNCTION books_begin(), refuse_archive(timestamptz), archive_ledger_period(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION books_begin() TO ledgerline_app, ledgerline_api;
