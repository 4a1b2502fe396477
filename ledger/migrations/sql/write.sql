-- Writing what was accepted: one statement per table. Statuses as in post_batch (1: accepted).

CREATE FUNCTION open_accounts(
    p_openings jsonb, a_code text[], p_merchant text[], p_mode text[], p_status integer[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO accounts (code, merchant_id, mode, currency, kind, name, min_balance_minor, max_balance_minor)
    SELECT DISTINCT ON (o.account) a_code[o.account], o.merchant_id, o.mode, o.currency, o.kind, o.name, o.min, o.max
    FROM jsonb_to_recordset(p_openings) AS o (n integer, account integer, merchant_id text, mode text, currency text,
        kind text, name text, min bigint, max bigint)
    WHERE p_status[o.n] = 1
    ORDER BY o.account, o.n
    ON CONFLICT (code) DO NOTHING;
END
$$;

CREATE FUNCTION write_ledger_transactions(
    p_status integer[], p_last_id bigint, p_key text[], p_merchant text[], p_mode text[], p_reference text[],
    p_recorded timestamptz[], p_fingerprint bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger_transactions (id, key, merchant_id, mode, reference, recorded_at, fingerprint)
    SELECT p_last_id + p.n, p.key, p.merchant, p.mode, p.reference, p.recorded, p.fingerprint
    FROM unnest(p_key, p_merchant, p_mode, p_reference, p_recorded, p_fingerprint, p_status) WITH ORDINALITY
        AS p (key, merchant, mode, reference, recorded, fingerprint, status, n)
    WHERE p.status = 1;
END
$$;

CREATE FUNCTION write_movements(
    p_now timestamptz, p_last_id bigint, p_last_ledger_transaction bigint, m_take boolean[], m_posting integer[],
    m_key text[], m_debit integer[], m_credit integer[], m_amount bigint[], m_currency text[], m_kind text[],
    m_reference text[], m_phase integer[], m_hold integer[], m_effective timestamptz[], m_fingerprint bytea[],
    h_key text[], a_id bigint[], m_move bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO movements (id, key, ledger_transaction_id, debit_account_id, credit_account_id, amount_minor, currency,
        kind, reference, phase, hold_key, recorded_at, effective_at, fingerprint)
    SELECT p_last_id + m.j, m.key, p_last_ledger_transaction + m.posting, a_id[m.debit], a_id[m.credit], m.amount,
        m.currency, m.kind, m.reference,
        CASE m.phase WHEN 1 THEN 'post' WHEN 2 THEN 'hold' WHEN 3 THEN 'post_hold' WHEN 4 THEN 'post_hold_final'
            ELSE 'void_hold' END,
        CASE WHEN m.phase >= 3 THEN h_key[m.hold] END,
        p_now + (m.j + m.posting - 1) * interval '1 microsecond',
        coalesce(m.effective, p_now + (m.j + m.posting - 1) * interval '1 microsecond'), m.fingerprint
    FROM unnest(m_take, m_posting, m_key, m_debit, m_credit, m_amount, m_currency, m_kind, m_reference, m_phase, m_hold,
        m_effective, m_fingerprint) WITH ORDINALITY AS m (take, posting, key, debit, credit, amount, currency, kind,
        reference, phase, hold, effective, fingerprint, j)
    WHERE m.take;
END
$$;

-- Entries, what is held afterwards, and each account's row once.
CREATE FUNCTION write_entries(
    p_now timestamptz, p_last_movement bigint, m_posting integer[], m_debit integer[], m_credit integer[],
    m_amount bigint[], m_effective timestamptz[], m_move bigint[], m_pend bigint[], a_id bigint[], l_balance bigint[],
    l_debits bigint[], l_credits bigint[], l_version bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    nm integer := cardinality(m_posting);
BEGIN
    INSERT INTO entries (id, movement_id, account_id, sequence, direction, amount_minor, balance_minor, recorded_at,
        effective_at)
    SELECT 2 * p_last_movement + leg, p_last_movement + (leg + 1) / 2,
        a_id[CASE leg % 2 WHEN 1 THEN m_debit[(leg + 1) / 2] ELSE m_credit[(leg + 1) / 2] END], l_version[leg],
        CASE leg % 2 WHEN 1 THEN 'debit' ELSE 'credit' END, m_amount[(leg + 1) / 2], l_balance[leg],
        p_now + ((leg + 1) / 2 + m_posting[(leg + 1) / 2] - 1) * interval '1 microsecond',
        coalesce(m_effective[(leg + 1) / 2],
            p_now + ((leg + 1) / 2 + m_posting[(leg + 1) / 2] - 1) * interval '1 microsecond')
    FROM generate_series(1, 2 * nm) leg
    WHERE m_move[(leg + 1) / 2] <> 0;

    IF EXISTS (SELECT FROM unnest(m_pend) p WHERE p <> 0) THEN
        INSERT INTO hold_changes (account_id, recorded_at, pending_debits_minor, pending_credits_minor)
        SELECT a_id[CASE leg % 2 WHEN 1 THEN m_debit[(leg + 1) / 2] ELSE m_credit[(leg + 1) / 2] END],
            p_now + ((leg + 1) / 2 + m_posting[(leg + 1) / 2] - 1) * interval '1 microsecond', l_debits[leg],
            l_credits[leg]
        FROM generate_series(1, 2 * nm) leg
        WHERE m_pend[(leg + 1) / 2] <> 0;
    END IF;

    UPDATE accounts SET balance_minor = l_balance[last.leg], pending_debits_minor = l_debits[last.leg],
        pending_credits_minor = l_credits[last.leg], version = l_version[last.leg],
        last_recorded_at = p_now + ((last.leg + 1) / 2 + m_posting[(last.leg + 1) / 2] - 1) * interval '1 microsecond'
    FROM (
        SELECT CASE leg % 2 WHEN 1 THEN m_debit[(leg + 1) / 2] ELSE m_credit[(leg + 1) / 2] END AS pos,
            max(leg) AS leg
        FROM generate_series(1, 2 * nm) leg
        WHERE m_move[(leg + 1) / 2] <> 0 OR m_pend[(leg + 1) / 2] <> 0
        GROUP BY 1 ORDER BY 1
    ) last
    WHERE accounts.id = a_id[last.pos];
END
$$;

-- New holds, and what remains of those acted on. p_remaining is by position in h_key.
CREATE FUNCTION write_holds(
    p_now timestamptz, h_key text[], h_old boolean[], p_remaining bigint[], m_take boolean[], m_posting integer[],
    m_debit integer[], m_credit integer[], m_amount bigint[], m_currency text[], m_reference text[], m_phase integer[],
    m_hold integer[], a_id bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holds (key, debit_account_id, credit_account_id, currency, amount_minor, remaining_minor, status,
        reference, created_at, closed_at)
    SELECT h_key[m_hold[j]], a_id[m_debit[j]], a_id[m_credit[j]], m_currency[j], m_amount[j], p_remaining[m_hold[j]],
        CASE WHEN p_remaining[m_hold[j]] > 0 THEN 'open' ELSE 'closed' END, m_reference[j],
        p_now + (j + m_posting[j] - 1) * interval '1 microsecond',
        CASE WHEN p_remaining[m_hold[j]] = 0 THEN p_now + (j + m_posting[j] - 1) * interval '1 microsecond' END
    FROM generate_series(1, cardinality(m_take)) j
    WHERE m_take[j] AND m_phase[j] = 2;

    UPDATE holds SET remaining_minor = p_remaining[last.hold],
        status = CASE WHEN p_remaining[last.hold] > 0 THEN 'open' ELSE 'closed' END,
        closed_at = CASE WHEN p_remaining[last.hold] = 0
            THEN p_now + (last.j + m_posting[last.j] - 1) * interval '1 microsecond' END
    FROM (
        SELECT m_hold[j] AS hold, max(j) AS j FROM generate_series(1, cardinality(m_take)) j
        WHERE m_take[j] AND m_phase[j] >= 3 AND h_old[m_hold[j]]
        GROUP BY 1
    ) last
    WHERE holds.key = h_key[last.hold];
END
$$;

CREATE FUNCTION write_claims(
    p_claims jsonb, p_merchant text[], p_mode text[], p_status integer[], p_recorded timestamptz[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO idempotency_keys (merchant_id, mode, key, fingerprint, route, request, object_kind, object_id,
        workflow_id, created_at)
    SELECT p_merchant[c.n], p_mode[c.n], c.key, c.fingerprint, c.route, c.request, c.object_kind, c.object_id,
        c.workflow_id, p_recorded[c.n]
    FROM jsonb_to_recordset(p_claims) AS c (n integer, key text, fingerprint text, route text, request jsonb,
        object_kind text, object_id text, workflow_id text)
    WHERE p_status[c.n] = 1
    ON CONFLICT (merchant_id, mode, key) DO NOTHING;
END
$$;

-- The documents of the records, those of transfers with the entries of their posting in `entries`.
CREATE FUNCTION with_entries(
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
            r_document[k] := r_document[k] || jsonb_build_object('entries', v_entries);
        END IF;
    END LOOP;
    RETURN r_document;
END
$$;

CREATE FUNCTION entry_id(p_id bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'le_' || lpad(p_id::text, 16, '0')
$$;

CREATE FUNCTION public_account(p_code text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(p_code, '^.*/', '')
$$;

CREATE FUNCTION write_policies(
    p_status integer[], p_recorded timestamptz[],
    r_posting integer[], r_kind text[], r_id text[], r_version integer[], r_document jsonb[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_written bigint;
BEGIN
    INSERT INTO policies AS stored (merchant_id, mode, kind, document, version, updated_at)
    SELECT DISTINCT ON (r.id) split_part(r.id, '/', 1), split_part(r.id, '/', 2), split_part(r.id, '/', 3),
        r.document, r.version, p_recorded[r.posting]
    FROM unnest(r_posting, r_kind, r_id, r_version, r_document) AS r (posting, kind, id, version, document)
    WHERE r.kind = 'policy' AND p_status[r.posting] = 1
    ORDER BY r.id, r.version DESC, r.posting
    ON CONFLICT (merchant_id, mode, kind) DO UPDATE SET
        document = excluded.document, version = excluded.version, updated_at = excluded.updated_at
    WHERE stored.version < excluded.version;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    RETURN v_written;
END
$$;

-- Events of the accepted postings, numbered without gaps per merchant and mode, in posting order; an event
-- that was written before is not numbered again. `record` is the position of its record.
CREATE FUNCTION write_events(
    p_events jsonb, p_merchant text[], p_mode text[], p_status integer[], p_recorded timestamptz[], r_document jsonb[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH drafts AS (
        SELECT DISTINCT ON (e.object_id, e.version, e.type)
            e.o, e.n, e.id, e.type, e.object_id, e.version, e.record
        FROM (SELECT row_number() OVER () AS o, x.* FROM jsonb_to_recordset(p_events) AS x (n integer, id text,
            type text, object_id text, version integer, record integer)) e
        LEFT JOIN events w ON w.object_id = e.object_id AND w.object_version = e.version AND w.type = e.type
        WHERE p_status[e.n] = 1 AND w.id IS NULL
        ORDER BY e.object_id, e.version, e.type, e.o
    ), counted AS (
        INSERT INTO event_sequences AS s (merchant_id, mode, last_sequence)
        SELECT p_merchant[n], p_mode[n], count(*) FROM drafts GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (merchant_id, mode) DO UPDATE SET last_sequence = s.last_sequence + excluded.last_sequence
        RETURNING s.merchant_id, s.mode, s.last_sequence
    ), numbered AS (
        SELECT d.*, count(*) OVER w AS drafts,
            row_number() OVER (PARTITION BY p_merchant[d.n], p_mode[d.n] ORDER BY d.o) AS nth
        FROM drafts d WINDOW w AS (PARTITION BY p_merchant[d.n], p_mode[d.n])
    )
    INSERT INTO events (id, merchant_id, mode, sequence, type, object_id, object_version, created_at, document)
    SELECT d.id, c.merchant_id, c.mode, c.last_sequence - d.drafts + d.nth, d.type, d.object_id, d.version,
        p_recorded[d.n], r_document[d.record]
    FROM numbered d JOIN counted c ON c.merchant_id = p_merchant[d.n] AND c.mode = p_mode[d.n];
END
$$;

-- One audit record per accepted posting, chained: sha256(previous || content hash || signature).
-- Returns the end of the chain.
CREATE FUNCTION write_audit(
    p_drafts jsonb, p_last_sequence bigint, p_last_hash bytea, p_key text[], p_merchant text[], p_mode text[],
    p_status integer[], p_recorded timestamptz[]
) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    v_content bytea[];
    v_signature bytea[];
    v_previous bytea[] := '{}';
    v_hash bytea[] := '{}';
    v_sequence bigint[] := '{}';
BEGIN
    SELECT array_agg(decode(d.content_hash, 'hex')), array_agg(decode(d.signature, 'hex')) INTO v_content, v_signature
    FROM jsonb_to_recordset(p_drafts) AS d (content_hash text, signature text);
    FOR i IN 1..cardinality(p_status) LOOP
        CONTINUE WHEN p_status[i] <> 1;
        p_last_sequence := p_last_sequence + 1;
        v_sequence[i] := p_last_sequence;
        v_previous[i] := p_last_hash;
        p_last_hash := sha256(p_last_hash || v_content[i] || coalesce(v_signature[i], ''));
        v_hash[i] := p_last_hash;
    END LOOP;
    INSERT INTO audit_records (sequence, merchant_id, mode, actor, action, object_id, details, posting_key,
        recorded_at, previous_hash, content_hash, record_hash, key_id, signature)
    SELECT v_sequence[d.n], p_merchant[d.n], p_mode[d.n], d.actor, d.action, d.object_id, d.details, p_key[d.n],
        p_recorded[d.n], v_previous[d.n], v_content[d.n], v_hash[d.n], d.key_id, v_signature[d.n]
    FROM jsonb_to_recordset(p_drafts)
        AS d (n integer, actor text, action text, object_id text, details jsonb, key_id text)
    WHERE p_status[d.n] = 1;
    RETURN p_last_hash;
END
$$;
