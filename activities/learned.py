"""What the books teach routing: outcomes by rail and segment, and what rails really cost, the older the lighter."""

from psycopg_pool import AsyncConnectionPool

from domain.rail import Flow
from rails.approval_odds import HALF_LIFE_SECONDS, DecayedCounts, Segment
from rails.landed_cost import cost_factor

LearnedCosts = dict[tuple[str, str], float]
"""What a rail really cost by its price list, by rail and currency."""

WINDOW_SECONDS = 7 * HALF_LIFE_SECONDS
"""Older outcomes would weigh less than a hundredth."""

_COUNTS = f"""
WITH recent AS (
    SELECT a.rail, a.outcome = 'approved' AS approved,
        coalesce(a.document -> 'segment', '{{}}') AS segment,
        (a.document ->> 'number')::int > 1 AS retry,
        power(0.5, extract(epoch FROM clock_timestamp() - a.created_at)::float8 / {HALF_LIFE_SECONDS}) AS weight
    FROM attempts a
    WHERE a.flow = %s
      AND (a.flow <> 'authorize' OR a.document ? 'segment')
      AND a.created_at > clock_timestamp() - make_interval(secs => {WINDOW_SECONDS})
      AND (a.outcome = 'approved' OR (a.outcome = 'declined' AND a.document ->> 'decline_class' = 'soft'))
)
SELECT rail, segment ->> 'brand', segment ->> 'country', segment ->> 'band', retry,
    coalesce(sum(weight) FILTER (WHERE approved), 0), coalesce(sum(weight) FILTER (WHERE NOT approved), 0),
    extract(epoch FROM clock_timestamp())::float8
FROM recent GROUP BY 1, 2, 3, 4, 5
"""

_COSTS = """
SELECT rail, document ->> 'currency', sum((document ->> 'cost_estimate_minor')::float8),
    sum((document ->> 'cost_minor')::float8), count(*)
FROM attempts
WHERE created_at > clock_timestamp() - interval '30 days' AND document ->> 'cost_minor' IS NOT NULL GROUP BY 1, 2
"""


async def decayed_counts(pool: AsyncConnectionPool, flow: Flow) -> list[DecayedCounts]:
    """Return the outcomes of one flow by rail and segment, weighed by age. Reads only.

    Charges of scripted sandbox tokens have no segment and teach nothing. A second attempt was made after
    another rail's soft decline or outage: it counts as a retry.
    """
    async with pool.connection() as connection:
        rows = await (await connection.execute(_COUNTS, (flow.value,))).fetchall()
    return [
        DecayedCounts(
            rail=rail,
            segment=Segment(brand=brand or "", country=country or "", band=band or "", retry=retry),
            approved=approved,
            declined_soft=declined,
            at_seconds=at_seconds,
        )
        for rail, brand, country, band, retry, approved, declined, at_seconds in rows
    ]


async def cost_factors(pool: AsyncConnectionPool) -> LearnedCosts:
    """Return what rails really cost by their price lists, from attempts whose cost a rail told. Reads only."""
    async with pool.connection() as connection:
        rows = await (await connection.execute(_COSTS)).fetchall()
    return {
        (rail, currency): cost_factor(estimated_minor=estimated, actual_minor=actual, orders=orders)
        for rail, currency, estimated, actual, orders in rows
        if estimated
    }
