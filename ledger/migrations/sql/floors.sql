-- The least balance a movement may leave behind on the account it debits, where it states one of its own.
-- A floor below zero lets a refund go lower than the account's minimum; one from zero on keeps a payout from
-- making a debt, whatever the account allows. No minimum of the account means no limit, except to a payout.
CREATE FUNCTION floor_of(p_min bigint, p_floor bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_floor IS NULL THEN p_min
        WHEN p_floor >= 0 THEN greatest(p_min, p_floor)
        WHEN p_min IS NULL THEN NULL
        ELSE least(p_min, p_floor) END
$$;
REVOKE ALL ON FUNCTION floor_of(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION floor_of(bigint, bigint) TO ledgerline_app;
