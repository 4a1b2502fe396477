-- What nobody may do, whoever they are: change or remove what was written, or write half a movement.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END
$$;

CREATE FUNCTION check_entries_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_sum numeric;
BEGIN
    SELECT sum(CASE direction WHEN 'debit' THEN -amount_minor ELSE amount_minor END) INTO v_sum FROM added;
    IF v_sum <> 0 THEN
        RAISE EXCEPTION 'entries of one statement sum to %, not to zero', v_sum USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER entries_balance AFTER INSERT ON entries
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_entries_balance();

-- Return once every posting under way has committed or gone, so that what was recorded up to now is visible.
-- The lock is released at once (with its subtransaction); nobody who posts waits for a reader.
CREATE FUNCTION await_ledger_turn() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    LOCK TABLE ledger_turn IN ROW EXCLUSIVE MODE;
    RAISE EXCEPTION 'release' USING ERRCODE = 'LL001';
EXCEPTION WHEN SQLSTATE 'LL001' THEN
    RETURN;
END
$$;
