-- Posting in one statement: a batch is then one round trip and one transaction, the turn included.

-- What a poster calls, outside a transaction: take the turn, post, commit. Arguments and results of post_batch.
-- The first COMMIT ends the statement's own transaction, so that the one that posts takes its snapshot after
-- the turn has come: posters of several processes never see stale balances and never fail to serialize
-- against one another. (LOCK needs no snapshot; a function would be called with one.)
CREATE PROCEDURE post_in_turn(
    p_key text[], p_merchant text[], p_mode text[], p_reference text[], p_fingerprint bytea[],
    p_last integer[], a_code text[], h_key text[], m_posting integer[], m_key text[], m_first integer[],
    m_debit integer[], m_credit integer[],
    m_amount bigint[], m_currency text[], m_kind text[], m_reference text[], m_phase integer[], m_hold integer[],
    m_effective timestamptz[], m_past boolean[], m_fingerprint bytea[], p_rest jsonb,
    OUT o_status integer[], OUT o_now timestamptz, OUT o_ledger_transaction bigint, OUT o_movement bigint,
    OUT o_move bigint[], OUT o_balance bigint[], OUT o_answers jsonb
) LANGUAGE plpgsql AS $$
BEGIN
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
    LOCK TABLE ledger_turn IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO o_status, o_now, o_ledger_transaction, o_movement, o_move, o_balance, o_answers
    FROM post_batch(p_key, p_merchant, p_mode, p_reference, p_fingerprint, p_last, a_code, h_key, m_posting, m_key,
        m_first, m_debit, m_credit, m_amount, m_currency, m_kind, m_reference, m_phase, m_hold, m_effective, m_past,
        m_fingerprint, p_rest);
END
$$;

REVOKE ALL ON PROCEDURE post_in_turn FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE post_in_turn TO ledgerline_app;
