-- Stops of payouts by currency, and the alerts about violations. The table payout_stops itself is records.sql's.

-- Whether payouts of a currency are stopped now. SECURITY DEFINER: a merchant may know that, not why.
CREATE FUNCTION payouts_stopped(p_currency text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM payout_stops WHERE status = 'active'
        AND id IN ('stop_' || lower(p_currency), 'stop_all'))
$$;

-- One row for each currency (or `all`, or `guards`) that violations were ever found in. delivered: receiver -> the
-- state it was told of.
CREATE TABLE ledger_alerts (
    scope text PRIMARY KEY,
    firing boolean NOT NULL,
    since timestamptz NOT NULL,
    ended_at timestamptz,
    violations integer NOT NULL,
    first_violations jsonb NOT NULL,
    delivered jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);
