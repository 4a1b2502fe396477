-- Accounts whose terms change, transfers that are posted in parts, and reversals found by what they undo.

-- The version of an account's status, name and limits; `version` counts its entries.
ALTER TABLE accounts ADD COLUMN terms_version integer NOT NULL DEFAULT 1;

-- "reversed_by" of a transfer is read from the reversal.
CREATE INDEX transfers_by_reversed ON transfers ((document ->> 'reverses')) WHERE document ->> 'reverses' IS NOT NULL;

-- Why an account's terms may not be changed, or null. Locks as post_batch does: the clock, then the account.
-- A repetition of a posting is never refused: post_batch answers it as it was.
CREATE FUNCTION refuse_account_change(p_key text, p_change jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_code text := p_change ->> 'code';
    v_min bigint := (p_change ->> 'min')::bigint;
    v_max bigint := (p_change ->> 'max')::bigint;
    a accounts;
BEGIN
    PERFORM 1 FROM ledger_clock WHERE one FOR UPDATE;
    IF EXISTS (SELECT FROM ledger_transactions t WHERE t.key = p_key) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO a FROM accounts WHERE code = v_code FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN refusal('account_not_found', v_code, 'no such account');
    ELSIF a.status = 'closed' THEN
        RETURN refusal('account_closed', v_code, 'a closed account does not change any more');
    ELSIF a.terms_version + 1 <> (p_change ->> 'version')::integer THEN
        RETURN refusal('account_changed', v_code, 'the account was changed by somebody else');
    ELSIF p_change ->> 'status' = 'closed'
        AND (a.balance_minor <> 0 OR a.pending_debits_minor <> 0 OR a.pending_credits_minor <> 0) THEN
        RETURN refusal('account_not_empty', v_code, 'the balance is ' || a.balance_minor || ', pending debits are '
            || a.pending_debits_minor || ' and pending credits ' || a.pending_credits_minor);
    ELSIF v_min IS DISTINCT FROM a.min_balance_minor AND a.balance_minor - a.pending_debits_minor < v_min THEN
        RETURN refusal('balance_below_minimum', v_code, 'minimum ' || v_min || ' where '
            || a.balance_minor - a.pending_debits_minor || ' is available');
    ELSIF v_max IS DISTINCT FROM a.max_balance_minor AND a.balance_minor + a.pending_credits_minor > v_max THEN
        RETURN refusal('balance_above_maximum', v_code, 'maximum ' || v_max || ' where the balance with what is '
            || 'pending is ' || a.balance_minor + a.pending_credits_minor);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION change_account(p_change jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts SET status = p_change ->> 'status', name = p_change ->> 'name',
        min_balance_minor = (p_change ->> 'min')::bigint, max_balance_minor = (p_change ->> 'max')::bigint,
        terms_version = (p_change ->> 'version')::integer
    WHERE code = p_change ->> 'code';
END
$$;

-- The documents of the records, those of transfers with the entries of their posting added to `entries`.
CREATE OR REPLACE FUNCTION with_entries(
    r_posting integer[], r_kind text[], r_document jsonb[], m_posting integer[], m_debit integer[], m_credit integer[],
    m_amount bigint[], a_code text[], m_move bigint[], p_last_movement bigint, l_balance bigint[]
) RETURNS jsonb[] LANGUAGE plpgsql AS $$
DECLARE
    v_entries jsonb;
BEGIN
    FOR k IN 1..cardinality(r_kind) LOOP
        CONTINUE WHEN r_kind[k] <> 'transfer';
        SELECT jsonb_agg(jsonb_build_object('id', entry_id(2 * p_last_movement + leg), 'account', public_account(a_code[
            CASE leg % 2 WHEN 1 THEN m_debit[(leg + 1) / 2] ELSE m_credit[(leg + 1) / 2] END]),
            'direction', CASE leg % 2 WHEN 1 THEN 'debit' ELSE 'credit' END,
            'amount', m_amount[(leg + 1) / 2], 'balance', l_balance[leg]) ORDER BY leg) INTO v_entries
        FROM generate_series(1, 2 * cardinality(m_posting)) leg
        WHERE m_posting[(leg + 1) / 2] = r_posting[k] AND m_move[(leg + 1) / 2] <> 0;
        IF v_entries IS NOT NULL THEN
            r_document[k] := r_document[k]
                || jsonb_build_object('entries', coalesce(r_document[k] -> 'entries', '[]') || v_entries);
        END IF;
    END LOOP;
    RETURN r_document;
END
$$;

REVOKE ALL ON FUNCTION refuse_account_change(text, jsonb), change_account(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refuse_account_change(text, jsonb), change_account(jsonb) TO ledgerline_app;
