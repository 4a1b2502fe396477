-- What each merchant captured in a calendar month (UTC), by currency: what volume tiers of prices go by.
-- Written with the captures it counts, in the same transaction; refunds do not lower it.
CREATE TABLE monthly_volumes (
    merchant_id text NOT NULL,
    mode text NOT NULL,
    currency text NOT NULL,
    month text NOT NULL,
    captured_minor bigint NOT NULL,
    PRIMARY KEY (merchant_id, mode, currency, month)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

INSERT INTO monthly_volumes (merchant_id, mode, currency, month, captured_minor)
SELECT t.merchant_id, t.mode, m.currency, to_char(m.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM'), sum(m.amount_minor)
FROM movements m JOIN ledger_transactions t ON t.id = m.ledger_transaction_id
WHERE m.kind = 'charge_capture'
GROUP BY 1, 2, 3, 4;

-- Arrays by movement as in post_batch; o_move is the money each accepted one moved.
CREATE FUNCTION write_monthly_volumes(
    p_now timestamptz, p_merchant text[], p_mode text[], m_posting integer[], m_currency text[], m_kind text[],
    o_move bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO monthly_volumes AS v (merchant_id, mode, currency, month, captured_minor)
    SELECT p_merchant[m.posting], p_mode[m.posting], m.currency, to_char(p_now AT TIME ZONE 'UTC', 'YYYY-MM'),
        sum(m.moved)
    FROM unnest(m_posting, m_currency, m_kind, o_move) AS m (posting, currency, kind, moved)
    WHERE m.kind = 'charge_capture' AND m.moved > 0
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (merchant_id, mode, currency, month)
        DO UPDATE SET captured_minor = v.captured_minor + excluded.captured_minor;
END
$$;

REVOKE ALL ON FUNCTION write_monthly_volumes(timestamptz, text[], text[], integer[], text[], text[], bigint[])
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION write_monthly_volumes(timestamptz, text[], text[], integer[], text[], text[], bigint[])
    TO ledgerline_app;
GRANT SELECT, INSERT, UPDATE ON monthly_volumes TO ledgerline_app;
GRANT SELECT ON monthly_volumes TO ledgerline_api;
ALTER TABLE monthly_volumes ENABLE ROW LEVEL SECURITY;
CREATE POLICY app ON monthly_volumes TO ledgerline_app USING (true) WITH CHECK (true);
CREATE POLICY api ON monthly_volumes FOR SELECT TO ledgerline_api USING (
    (SELECT current_setting('ledgerline.admin', true)) = 'on'
    OR (merchant_id = (SELECT current_setting('ledgerline.merchant', true))
        AND mode = (SELECT current_setting('ledgerline.mode', true))));

ALTER TABLE policies DROP CONSTRAINT policies_kind_check;
ALTER TABLE policies ADD CONSTRAINT policies_kind_check CHECK (kind IN ('risk', 'routing', 'pricing', 'refund'));
