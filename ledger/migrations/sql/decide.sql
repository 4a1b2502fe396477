-- Deciding: which postings of a batch are accepted. Nothing here writes.

-- An object as stored: its version and document, whatever its kind. No row when there is none.
CREATE FUNCTION stored_record(p_kind text, p_id text, OUT version integer, OUT document jsonb)
RETURNS SETOF record LANGUAGE sql STABLE ROWS 1 AS $$
    {stored_kinds}
    UNION ALL SELECT p.version, p.document FROM policies p
        WHERE p_kind = 'policy' AND p.merchant_id = split_part(p_id, '/', 1)
        AND p.mode = split_part(p_id, '/', 2) AND p.kind = split_part(p_id, '/', 3)
$$;

-- What a charge's refunds are measured against (captured is null while there is no such charge):
-- {{"captured": n, "used": {{refund or dispute: amount}}}}.
CREATE FUNCTION refund_room(p_charge text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('captured', (SELECT c.amount_captured FROM charges c WHERE c.id = p_charge), 'used',
        coalesce((SELECT jsonb_object_agg(r.id, r.amount_minor) FROM refunds r WHERE r.charge_id = p_charge
            AND r.status IN ('processing', 'pending', 'succeeded', 'unknown')), '{{}}')
        || coalesce((SELECT jsonb_object_agg(d.id, d.amount_minor) FROM disputes d
            WHERE d.charge_id = p_charge AND d.status <> 'won'), '{{}}'))
$$;

-- Refund rooms (charge -> room) after a record of the same batch was accepted.
CREATE FUNCTION refund_rooms_after(p_rooms jsonb, p_kind text, p_id text, p_document jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_charge text := CASE p_kind WHEN 'charge' THEN p_id ELSE p_document ->> 'charge' END;
    v_counts boolean := CASE p_kind
        WHEN 'refund' THEN p_document ->> 'status' IN ('processing', 'pending', 'succeeded', 'unknown')
        ELSE p_document ->> 'status' <> 'won' END;
BEGIN
    IF NOT p_rooms ? v_charge THEN
        RETURN p_rooms;
    ELSIF p_kind = 'charge' THEN
        RETURN jsonb_set(p_rooms, ARRAY[v_charge, 'captured'], coalesce(p_document -> 'amount_captured', '0'));
    ELSIF v_counts THEN
        RETURN jsonb_set(p_rooms, ARRAY[v_charge, 'used', p_id], p_document -> 'amount');
    END IF;
    RETURN p_rooms #- ARRAY[v_charge, 'used', p_id];
END
$$;

-- Refuse a refund beyond what was captured; null when it fits.
CREATE FUNCTION refuse_refund(p_room jsonb, p_refund text, p_amount bigint) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN room.remaining IS NULL OR p_amount > room.remaining THEN jsonb_build_object(
        'code', 'exceeds_refundable_amount', 'remaining_minor', greatest(coalesce(room.remaining, 0), 0), 'detail',
        'refund of ' || p_amount || ' where ' || greatest(coalesce(room.remaining, 0), 0) || ' may be refunded') END
    FROM (SELECT (p_room ->> 'captured')::bigint - coalesce((SELECT sum(u.value::bigint)
        FROM jsonb_each_text(p_room -> 'used') u WHERE u.key <> p_refund), 0)::bigint AS remaining) room
$$;

-- Decide the postings one after the other; each sees what the accepted ones before it leave behind.
-- Arrays as in post_batch; c_ claims (c_holder: whose the key is), g_ guards, op_ openings, r_ records (r_stored:
-- the version stored, where it matters), a_ accounts, h_ holds, e_ movements posted before, by m_first.
-- p_same: null for a new key, otherwise whether it was posted with the same facts.
-- o_status: 0 refused, 1 accepted, 2 posted earlier. Movements: o_take to record, o_move the money moved,
-- o_pend the change of what is pending. Legs (2j - 1: debit of movement j, 2j: credit): the account's balance,
-- pending debits and credits and entry count right after. Accounts opened by the batch have negative ids here.
CREATE FUNCTION decide_in_turn(
    p_key text[], p_same boolean[], p_last integer[],
    c_posting integer[], c_first integer[], c_object text[], c_holder text[],
    g_posting integer[], g_charge text[], g_refund text[], g_amount bigint[],
    op_posting integer[], op_account integer[], op_create boolean[], op_currency text[], op_min bigint[],
    op_max bigint[], r_posting integer[], r_first integer[], r_kind text[], r_id text[], r_version integer[],
    r_create boolean[], r_stored integer[], r_document jsonb[], a_code text[], a_id bigint[], a_currency text[],
    a_status text[], a_balance bigint[], a_debits bigint[], a_credits bigint[], a_min bigint[], a_max bigint[],
    a_version bigint[], h_debit bigint[], h_credit bigint[], h_currency text[], h_remaining bigint[], h_open boolean[],
    m_key text[], m_first integer[], m_debit integer[], m_credit integer[], m_amount bigint[], m_currency text[],
    m_phase integer[], m_hold integer[], m_past boolean[], m_fingerprint bytea[],
    e_amount bigint[], e_fingerprint bytea[],
    OUT o_status integer[], OUT o_refusals jsonb[], OUT o_take boolean[], OUT o_move bigint[], OUT o_pend bigint[],
    OUT o_remaining bigint[], OUT o_balance bigint[], OUT o_debits bigint[], OUT o_credits bigint[],
    OUT o_version bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_rooms jsonb := '{{}}';
    v_refusal jsonb;
    v_claim integer := 1;
    v_guard integer := 1;
    v_opening integer := 1;
    v_record integer := 1;
    v_from integer;
    k integer;
    d integer;
    c integer;
    h integer;
    v_opened integer[];
BEGIN
    o_refusals := array_fill(NULL::jsonb, ARRAY[cardinality(p_last)]);
    o_status := array_fill(0, ARRAY[cardinality(p_last)]);
    o_take := array_fill(false, ARRAY[cardinality(m_key)]);
    o_move := array_fill(0::bigint, ARRAY[cardinality(m_key)]);
    o_pend := o_move;
    o_balance := array_fill(0::bigint, ARRAY[2 * cardinality(m_key)]);
    o_debits := o_balance;
    o_credits := o_balance;
    o_version := o_balance;
    IF cardinality(g_posting) > 0 THEN
        SELECT coalesce(jsonb_object_agg(g, refund_room(g)), '{{}}') INTO v_rooms
        FROM (SELECT DISTINCT g FROM unnest(g_charge) g) AS charges (g) WHERE g IS NOT NULL;
    END IF;

    FOR i IN 1..cardinality(p_last) LOOP
        v_refusal := NULL;
        v_from := coalesce(p_last[i - 1], 0) + 1;
        IF p_same[i] THEN
            o_status[i] := 2;
            CONTINUE;
        ELSIF NOT p_same[i] THEN
            o_refusals[i] := jsonb_build_object('code', 'exists_with_different_facts',
                'detail', 'posting ' || p_key[i] || ' exists with other facts');
            CONTINUE;
        END IF;
        v_opened := '{{}}';

        WHILE c_posting[v_claim] < i LOOP
            v_claim := v_claim + 1;
        END LOOP;
        IF c_posting[v_claim] = i AND c_holder[c_first[v_claim]] <> c_object[v_claim] THEN
            v_refusal := jsonb_build_object('code', 'idempotency_key_taken', 'object_id', c_holder[c_first[v_claim]],
                'detail', 'the idempotency key belongs to ' || c_holder[c_first[v_claim]]);
        END IF;
        WHILE r_posting[v_record] < i LOOP
            v_record := v_record + 1;
        END LOOP;
        k := v_record;
        WHILE v_refusal IS NULL AND r_posting[k] = i LOOP
            IF r_create[k] AND r_stored[r_first[k]] IS NOT NULL THEN
                v_refusal := jsonb_build_object('code', 'already_exists', 'object_id', r_id[k],
                    'detail', r_kind[k] || ' ' || r_id[k] || ' exists already');
            END IF;
            k := k + 1;
        END LOOP;
        WHILE g_posting[v_guard] < i LOOP
            v_guard := v_guard + 1;
        END LOOP;
        IF v_refusal IS NULL AND g_posting[v_guard] = i THEN
            v_refusal := refuse_refund(v_rooms -> g_charge[v_guard], g_refund[v_guard], g_amount[v_guard]);
        END IF;
        WHILE op_posting[v_opening] <= i LOOP
            d := op_account[v_opening];
            IF op_posting[v_opening] = i AND a_id[d] IS NULL THEN
                a_id[d] := -d;
                a_currency[d] := op_currency[v_opening];
                a_status[d] := 'open';
                a_balance[d] := 0;
                a_debits[d] := 0;
                a_credits[d] := 0;
                a_version[d] := 0;
                a_min[d] := op_min[v_opening];
                a_max[d] := op_max[v_opening];
                v_opened := v_opened || d;
            ELSIF op_posting[v_opening] = i AND op_create[v_opening] THEN
                v_refusal := coalesce(v_refusal, jsonb_build_object('code', 'already_exists', 'object_id', a_code[d],
                    'detail', 'account ' || a_code[d] || ' exists already'));
            END IF;
            v_opening := v_opening + 1;
        END LOOP;

        FOR j IN v_from..p_last[i] LOOP
            EXIT WHEN v_refusal IS NOT NULL;
            k := m_first[j];
            d := m_debit[j];
            c := m_credit[j];
            h := m_hold[j];
            IF e_amount[k] IS NOT NULL THEN
                IF e_fingerprint[k] <> m_fingerprint[j] THEN
                    v_refusal := jsonb_build_object('code', 'exists_with_different_facts', 'detail',
                        'movement ' || m_key[j] || ' exists with other facts');
                ELSIF e_amount[k] <> m_amount[j] THEN
                    v_refusal := jsonb_build_object('code', 'exists_with_different_amount', 'detail',
                        'movement ' || m_key[j] || ' exists with amount ' || e_amount[k]);
                END IF;
                CONTINUE;
            END IF;
            v_refusal := refuse_movement(m_phase[j], m_amount[j], m_currency[j], m_past[j],
                a_code[d], a_id[d], a_status[d], a_currency[d], a_balance[d], a_debits[d], a_min[d],
                a_code[c], a_id[c], a_status[c], a_currency[c], a_balance[c], a_credits[c], a_max[c],
                h_debit[h], h_credit[h], h_currency[h], h_remaining[h], h_open[h]);
            EXIT WHEN v_refusal IS NOT NULL;
            o_take[j] := true;
            o_move[j] := CASE WHEN m_phase[j] IN (1, 3, 4) THEN m_amount[j] ELSE 0 END;
            o_pend[j] := CASE m_phase[j] WHEN 1 THEN 0 WHEN 2 THEN m_amount[j] WHEN 3 THEN -m_amount[j]
                ELSE -h_remaining[h] END;
            a_balance[d] := a_balance[d] - o_move[j];
            a_balance[c] := a_balance[c] + o_move[j];
            a_debits[d] := a_debits[d] + o_pend[j];
            a_credits[c] := a_credits[c] + o_pend[j];
            IF o_move[j] > 0 THEN
                a_version[d] := a_version[d] + 1;
                a_version[c] := a_version[c] + 1;
            END IF;
            o_balance[2 * j - 1] := a_balance[d];
            o_debits[2 * j - 1] := a_debits[d];
            o_credits[2 * j - 1] := a_credits[d];
            o_version[2 * j - 1] := a_version[d];
            o_balance[2 * j] := a_balance[c];
            o_debits[2 * j] := a_debits[c];
            o_credits[2 * j] := a_credits[c];
            o_version[2 * j] := a_version[c];
            e_amount[k] := m_amount[j];
            e_fingerprint[k] := m_fingerprint[j];
            IF m_phase[j] = 2 THEN
                h_debit[h] := a_id[d];
                h_credit[h] := a_id[c];
                h_currency[h] := m_currency[j];
                h_remaining[h] := 0;
            END IF;
            IF h > 0 THEN
                h_remaining[h] := h_remaining[h] + o_pend[j];
                h_open[h] := h_remaining[h] > 0;
            END IF;
        END LOOP;

        IF v_refusal IS NOT NULL THEN
            o_refusals[i] := v_refusal;
            FOR j IN REVERSE p_last[i]..v_from LOOP
                CONTINUE WHEN NOT o_take[j];
                d := m_debit[j];
                c := m_credit[j];
                h := m_hold[j];
                a_balance[d] := a_balance[d] + o_move[j];
                a_balance[c] := a_balance[c] - o_move[j];
                a_debits[d] := a_debits[d] - o_pend[j];
                a_credits[c] := a_credits[c] - o_pend[j];
                IF o_move[j] > 0 THEN
                    a_version[d] := a_version[d] - 1;
                    a_version[c] := a_version[c] - 1;
                END IF;
                IF h > 0 THEN
                    h_remaining[h] := h_remaining[h] - o_pend[j];
                    h_open[h] := h_remaining[h] > 0;
                END IF;
                e_amount[m_first[j]] := NULL;
                o_take[j] := false;
                o_move[j] := 0;
                o_pend[j] := 0;
            END LOOP;
            FOREACH d IN ARRAY v_opened LOOP
                a_id[d] := NULL;
            END LOOP;
            CONTINUE;
        END IF;
        o_status[i] := 1;
        IF c_posting[v_claim] = i THEN
            c_holder[c_first[v_claim]] := c_object[v_claim];
        END IF;
        WHILE r_posting[v_record] = i LOOP
            k := r_first[v_record];
            IF r_version[v_record] > coalesce(r_stored[k], -1) THEN
                r_stored[k] := r_version[v_record];
                IF cardinality(g_posting) > 0 AND r_kind[v_record] IN ('charge', 'refund', 'dispute') THEN
                    v_rooms := refund_rooms_after(v_rooms, r_kind[v_record], r_id[v_record], r_document[v_record]);
                END IF;
            END IF;
            v_record := v_record + 1;
        END LOOP;
    END LOOP;
    o_remaining := h_remaining;
END
$$;

-- Why a movement may not be made, or null. The rules in the order in which they are reported.
CREATE FUNCTION refuse_movement(
    p_phase integer, p_amount bigint, p_currency text, p_past boolean,
    d_code text, d_id bigint, d_status text, d_currency text, d_balance bigint, d_pending bigint, d_min bigint,
    c_code text, c_id bigint, c_status text, c_currency text, c_balance bigint, c_pending bigint, c_max bigint,
    h_debit bigint, h_credit bigint, h_currency text, h_remaining bigint, h_open boolean
) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF d_id IS NULL OR c_id IS NULL THEN
        RETURN refusal('account_not_found', CASE WHEN d_id IS NULL THEN d_code ELSE c_code END, 'no such account');
    ELSIF NOT may_move(d_status, p_phase, p_past) OR NOT may_move(c_status, p_phase, p_past) THEN
        RETURN refusal('account_closed', CASE WHEN NOT may_move(d_status, p_phase, p_past) THEN d_code ELSE c_code END,
            'the account is frozen or closed');
    ELSIF d_currency <> p_currency OR c_currency <> p_currency THEN
        RETURN refusal('currency_mismatch', CASE WHEN d_currency <> p_currency THEN d_code ELSE c_code END,
            'the account is not kept in ' || p_currency);
    ELSIF p_phase >= 3 THEN
        IF NOT coalesce(h_open AND h_debit = d_id AND h_credit = c_id AND h_currency = p_currency, false) THEN
            RETURN refusal('hold_not_found', d_code, 'no such hold is open between these accounts');
        ELSIF p_amount > h_remaining THEN
            RETURN refusal('exceeds_hold', d_code, 'amount ' || p_amount || ' where ' || h_remaining || ' is held')
                || jsonb_build_object('remaining_minor', h_remaining);
        END IF;
    ELSIF p_past THEN
        RETURN NULL;
    ELSIF d_balance - d_pending - p_amount < d_min THEN
        RETURN refusal('exceeds_available_balance', d_code, 'amount ' || p_amount || ' where '
            || greatest(d_balance - d_pending - d_min, 0) || ' is available');
    ELSIF c_balance + c_pending + p_amount > c_max THEN
        RETURN refusal('exceeds_maximum_balance', c_code, 'amount ' || p_amount || ' where the account may take '
            || greatest(c_max - c_balance - c_pending, 0) || ' more');
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION refusal(p_code text, p_account text, p_detail text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('code', p_code, 'account', p_account, 'detail', p_detail)
$$;

-- Whether an account's status lets a movement through: releasing a hold always may, and what posts past
-- limits (chargebacks) passes a frozen account.
CREATE FUNCTION may_move(p_status text, p_phase integer, p_past boolean) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT p_status = 'open' OR p_phase = 5 OR (p_past AND p_status = 'frozen')
$$;
