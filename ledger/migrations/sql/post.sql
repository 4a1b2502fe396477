-- Posting a batch: decide, then write everything accepted with one statement per table.

-- Post a batch of postings, in order, each wholly or not at all. Called as the second statement of a
-- SERIALIZABLE transaction whose first locks ledger_turn. Arrays: p_ by posting, m_ by movement (in posting
-- order; m_debit and m_credit are positions in a_code, m_hold in h_key or 0, m_first the first movement with
-- the same key), a_code the accounts sorted. p_last is the number of movements up to and with a posting.
-- m_phase: 1 post, 2 hold, 3 post_hold, 4 post_hold_final, 5 void_hold. p_rest: claims, guards, openings,
-- records, events and audit drafts, each with its posting `n`; `first` is the position of the first claim of the
-- same key, or record of the same object.
-- o_status by posting: 0 refused, 1 posted, 2 posted earlier. Recorded instants: o_now + (n + p_last[n]) us.
CREATE FUNCTION post_batch(
    p_key text[], p_merchant text[], p_mode text[], p_reference text[], p_fingerprint bytea[],
    p_last integer[], a_code text[], h_key text[], m_posting integer[], m_key text[], m_first integer[],
    m_debit integer[], m_credit integer[],
    m_amount bigint[], m_currency text[], m_kind text[], m_reference text[], m_phase integer[], m_hold integer[],
    m_effective timestamptz[], m_past boolean[], m_fingerprint bytea[], p_rest jsonb,
    OUT o_status integer[], OUT o_now timestamptz, OUT o_ledger_transaction bigint, OUT o_movement bigint,
    OUT o_move bigint[], OUT o_balance bigint[], OUT o_answers jsonb
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    np integer := cardinality(p_key);
    nm integer := cardinality(m_key);
    v_clock ledger_clock;
    v_known bigint[];
    v_same boolean[];
    p_recorded timestamptz[];
    c_posting integer[]; c_first integer[]; c_object text[]; c_holder text[];
    g_posting integer[]; g_charge text[]; g_refund text[]; g_amount bigint[];
    op_posting integer[]; op_account integer[]; op_create boolean[]; op_currency text[]; op_min bigint[];
    op_max bigint[];
    r_posting integer[]; r_first integer[]; r_kind text[]; r_id text[]; r_version integer[]; r_create boolean[];
    r_stored integer[]; r_document jsonb[]; r_internal jsonb[];
    a_id bigint[]; a_currency text[]; a_status text[]; a_balance bigint[]; a_debits bigint[]; a_credits bigint[];
    a_min bigint[]; a_max bigint[]; a_version bigint[];
    h_debit bigint[]; h_credit bigint[]; h_currency text[]; h_remaining bigint[]; h_open boolean[]; h_old boolean[];
    e_amount bigint[]; e_fingerprint bytea[];
    m_take boolean[]; m_pend bigint[];
    l_debits bigint[]; l_credits bigint[]; l_version bigint[];
    v_stale boolean := false;
    v_refusals jsonb[];
BEGIN
    SELECT * INTO v_clock FROM ledger_clock WHERE one FOR UPDATE;
    SELECT array_agg(t.id ORDER BY k.n), array_agg(t.fingerprint = p_fingerprint[k.n] ORDER BY k.n)
    INTO v_known, v_same
    FROM unnest(p_key) WITH ORDINALITY k (key, n) LEFT JOIN ledger_transactions t ON t.key = k.key;

    IF p_rest ? 'claims' THEN
        SELECT array_agg(c.n ORDER BY c.o), array_agg(c.first ORDER BY c.o), array_agg(c.object_id ORDER BY c.o),
            array_agg(k.object_id ORDER BY c.o)
        INTO c_posting, c_first, c_object, c_holder
        FROM (SELECT row_number() OVER () AS o, x.*
            FROM jsonb_to_recordset(p_rest -> 'claims') AS x (n integer, first integer, key text, object_id text)) c
        LEFT JOIN idempotency_keys k
            ON k.merchant_id = p_merchant[c.n] AND k.mode = p_mode[c.n] AND k.key = c.key;
    END IF;
    IF p_rest ? 'guards' THEN
        SELECT array_agg(g.n), array_agg(g.charge), array_agg(g.refund), array_agg(g.amount)
        INTO g_posting, g_charge, g_refund, g_amount
        FROM jsonb_to_recordset(p_rest -> 'guards') AS g (n integer, charge text, refund text, amount bigint);
        PERFORM 1 FROM charges WHERE id = ANY (g_charge) ORDER BY id FOR NO KEY UPDATE;
    END IF;
    IF p_rest ? 'records' THEN
        SELECT array_agg(r.n), array_agg(r.first), array_agg(r.kind), array_agg(r.id), array_agg(r.version),
            array_agg(r."create"), array_agg(r.document), array_agg(r.internal)
        INTO r_posting, r_first, r_kind, r_id, r_version, r_create, r_document, r_internal
        FROM jsonb_to_recordset(p_rest -> 'records') AS r (n integer, first integer, kind text, id text,
            version integer, "create" boolean, document jsonb, internal jsonb);
        IF true = ANY (r_create) OR g_posting IS NOT NULL THEN
            SELECT array_agg(s.version ORDER BY r.n) INTO r_stored
            FROM unnest(r_kind, r_id) WITH ORDINALITY AS r (kind, id, n)
            LEFT JOIN LATERAL stored_record(r.kind, r.id) s ON true;
        END IF;
    END IF;

    IF cardinality(a_code) > 0 THEN
        PERFORM 1 FROM accounts WHERE code = ANY (a_code) ORDER BY code FOR NO KEY UPDATE;
        SELECT array_agg(a.id ORDER BY k.n), array_agg(a.currency ORDER BY k.n), array_agg(a.status ORDER BY k.n),
            array_agg(a.balance_minor ORDER BY k.n), array_agg(a.pending_debits_minor ORDER BY k.n),
            array_agg(a.pending_credits_minor ORDER BY k.n), array_agg(a.min_balance_minor ORDER BY k.n),
            array_agg(a.max_balance_minor ORDER BY k.n), array_agg(a.version ORDER BY k.n)
        INTO a_id, a_currency, a_status, a_balance, a_debits, a_credits, a_min, a_max, a_version
        FROM unnest(a_code) WITH ORDINALITY k (code, n) LEFT JOIN accounts a ON a.code = k.code;
    END IF;
    IF p_rest ? 'openings' THEN
        SELECT array_agg(o.n), array_agg(o.account), array_agg(o."create"), array_agg(o.currency), array_agg(o.min),
            array_agg(o.max)
        INTO op_posting, op_account, op_create, op_currency, op_min, op_max
        FROM jsonb_to_recordset(p_rest -> 'openings')
            AS o (n integer, account integer, "create" boolean, currency text, min bigint, max bigint);
    END IF;
    IF cardinality(h_key) > 0 THEN
        SELECT array_agg(h.debit_account_id ORDER BY k.n), array_agg(h.credit_account_id ORDER BY k.n),
            array_agg(h.currency ORDER BY k.n), array_agg(h.remaining_minor ORDER BY k.n),
            array_agg(h.status = 'open' ORDER BY k.n), array_agg(h.key IS NOT NULL ORDER BY k.n)
        INTO h_debit, h_credit, h_currency, h_remaining, h_open, h_old
        FROM unnest(h_key) WITH ORDINALITY k (key, n) LEFT JOIN holds h ON h.key = k.key;
    END IF;
    IF nm > 0 THEN
        SELECT array_agg(m.amount_minor ORDER BY k.n), array_agg(m.fingerprint ORDER BY k.n)
        INTO e_amount, e_fingerprint
        FROM unnest(m_key) WITH ORDINALITY k (key, n) LEFT JOIN movements m ON m.key = k.key;
    END IF;

    SELECT d.* INTO o_status, v_refusals, m_take, o_move, m_pend, h_remaining, o_balance, l_debits, l_credits,
        l_version
    FROM decide_in_turn(p_key, v_same, p_last, c_posting, c_first, c_object, c_holder, g_posting, g_charge, g_refund,
        g_amount, op_posting, op_account, op_create, op_currency, op_min, op_max, r_posting, r_first, r_kind, r_id,
        r_version, r_create, r_stored, r_document, a_code, a_id, a_currency, a_status, a_balance, a_debits, a_credits, a_min,
        a_max, a_version, h_debit, h_credit, h_currency, h_remaining, h_open, m_key, m_first, m_debit, m_credit,
        m_amount, m_currency, m_phase, m_hold, m_past, m_fingerprint, e_amount, e_fingerprint) d;
    IF p_rest ? 'openings' THEN
        PERFORM open_accounts(p_rest -> 'openings', a_code, p_merchant, p_mode, o_status);
        SELECT array_agg(a.id ORDER BY k.n) INTO a_id
        FROM unnest(a_code) WITH ORDINALITY k (code, n) LEFT JOIN accounts a ON a.code = k.code;
    END IF;

    o_now := greatest(clock_timestamp(), v_clock.last_recorded_at);
    o_ledger_transaction := v_clock.last_ledger_transaction_id;
    o_movement := v_clock.last_movement_id;
    SELECT array_agg(o_now + (i + p_last[i]) * interval '1 microsecond' ORDER BY i) INTO p_recorded
    FROM generate_series(1, np) i;
    PERFORM write_ledger_transactions(o_status, o_ledger_transaction, p_key, p_merchant, p_mode, p_reference,
        p_recorded, p_fingerprint);
    IF true = ANY (m_take) THEN
        PERFORM write_movements(o_now, o_movement, o_ledger_transaction, m_take, m_posting, m_key, m_debit, m_credit,
            m_amount, m_currency, m_kind, m_reference, m_phase, m_hold, m_effective, m_fingerprint, h_key, a_id,
            o_move);
        PERFORM write_entries(o_now, o_movement, m_posting, m_debit, m_credit, m_amount, m_effective, o_move, m_pend,
            a_id, o_balance, l_debits, l_credits, l_version);
        IF cardinality(h_key) > 0 THEN
            PERFORM write_holds(o_now, h_key, h_old, h_remaining, m_take, m_posting, m_debit, m_credit, m_amount,
                m_currency, m_reference, m_phase, m_hold, a_id);
        END IF;
    END IF;
    IF c_posting IS NOT NULL THEN
        PERFORM write_claims(p_rest -> 'claims', p_merchant, p_mode, o_status, p_recorded);
    END IF;
    IF r_posting IS NOT NULL THEN
        IF 'transfer' = ANY (r_kind) AND nm > 0 THEN
            r_document := with_entries(r_posting, r_kind, r_document, m_posting, m_debit, m_credit, m_amount, a_code,
                o_move, o_movement, o_balance);
        END IF;
        v_stale := write_records(p_merchant, p_mode, o_status, p_recorded, r_posting, r_kind, r_id, r_version,
            r_document, r_internal);
    END IF;
    IF p_rest ? 'events' THEN
        PERFORM write_events(p_rest -> 'events', p_merchant, p_mode, o_status, p_recorded, r_document);
    END IF;
    v_clock.last_audit_hash := write_audit(p_rest -> 'audit', v_clock.last_audit_sequence, v_clock.last_audit_hash,
        p_key, p_merchant, p_mode, o_status, p_recorded);
    UPDATE ledger_clock SET last_recorded_at = p_recorded[np], last_movement_id = o_movement + nm,
        last_ledger_transaction_id = o_ledger_transaction + np, last_audit_hash = v_clock.last_audit_hash,
        last_audit_sequence = v_clock.last_audit_sequence + (SELECT count(*) FROM unnest(o_status) s WHERE s = 1)
    WHERE one;
    o_answers := answers(o_status, v_refusals, v_known, v_stale, r_posting, r_kind, r_id, r_version, r_document);
END
$$;
