-- Storing objects of any kind, and what a batch answers beyond statuses and balances.

-- Store every kind of record. Tells whether something newer than a record was stored already.
CREATE FUNCTION write_records(
    p_merchant text[], p_mode text[], p_status integer[], p_recorded timestamptz[],
    r_posting integer[], r_kind text[], r_id text[], r_version integer[], r_document jsonb[], r_internal jsonb[]
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_written bigint := 0;
BEGIN
    {write_kinds}
    IF 'policy' = ANY (r_kind) THEN
        v_written := v_written
            + write_policies(p_status, p_recorded, r_posting, r_kind, r_id, r_version, r_document);
    END IF;
    RETURN v_written < (SELECT count(DISTINCT (r.kind, r.id))
        FROM unnest(r_posting, r_kind, r_id) AS r (posting, kind, id)
        WHERE p_status[r.posting] = 1 AND r.kind <> 'account');
END
$$;

-- The entries of a ledger transaction, in the order of its movements.
CREATE FUNCTION entries_of(p_ledger_transaction bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('number', e.id, 'account', a.code, 'direction', e.direction,
        'amount', e.amount_minor, 'balance', e.balance_minor) ORDER BY e.id), '[]')
    FROM movements m
    JOIN entries e ON e.id IN (2 * m.id - 1, 2 * m.id)
    JOIN accounts a ON a.id = e.account_id
    WHERE m.ledger_transaction_id = p_ledger_transaction
$$;

-- Refusals and earlier results by posting; documents by posting and id where they differ from what was sent,
-- and what is stored where other facts were posted.
CREATE FUNCTION answers(
    p_status integer[], p_refusals jsonb[], p_known bigint[], p_stale boolean,
    r_posting integer[], r_kind text[], r_id text[], r_version integer[], r_document jsonb[]
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_refusals jsonb := '{{}}';
    v_earlier jsonb := '{{}}';
    v_documents jsonb := '{{}}';
BEGIN
    IF 0 = ANY (p_status) THEN
        SELECT jsonb_object_agg(r.n, r.refusal) INTO v_refusals
        FROM unnest(p_refusals) WITH ORDINALITY r (refusal, n) WHERE r.refusal IS NOT NULL;
    END IF;
    IF 2 = ANY (p_status) THEN
        SELECT jsonb_object_agg(k.n, jsonb_build_object('ledger_transaction', t.id, 'recorded_at', t.recorded_at,
            'entries', entries_of(t.id))) INTO v_earlier
        FROM unnest(p_known) WITH ORDINALITY k (id, n) JOIN ledger_transactions t ON t.id = k.id
        WHERE p_status[k.n] = 2;
    END IF;
    IF p_stale OR 0 = ANY (p_status) OR 2 = ANY (p_status) THEN
        SELECT coalesce(jsonb_agg(jsonb_build_array(r.posting, r.id, s.document)), '[]') INTO v_documents
        FROM unnest(r_posting, r_kind, r_id, r_version) AS r (posting, kind, id, version),
            LATERAL stored_record(r.kind, r.id) s
        WHERE s.document IS NOT NULL
            AND (p_status[r.posting] = 2 OR (p_status[r.posting] = 1 AND s.version > r.version)
                OR p_refusals[r.posting] ->> 'code' = 'exists_with_different_facts');
    ELSE
        v_documents := '[]';
    END IF;
    IF 'transfer' = ANY (r_kind) THEN
        SELECT coalesce(jsonb_agg(jsonb_build_array(r.posting, r.id, r.document)), '[]') || v_documents INTO v_documents
        FROM unnest(r_posting, r_kind, r_id, r_document) AS r (posting, kind, id, document)
        WHERE r.kind = 'transfer' AND p_status[r.posting] = 1;
    END IF;
    RETURN jsonb_build_object('refusals', v_refusals, 'earlier', v_earlier, 'documents', v_documents);
END
$$;
