"""What a decision is made from, read in one round trip: policies, the card's history, an earlier decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg_pool import AsyncConnectionPool

from domain.charge import Charge
from domain.identifiers import Mode
from domain.pricing import PricingPlan, pricing_plan_of
from domain.risk import RiskDecision, RiskPolicy
from domain.routing import RoutingPolicy, routing_policy_of
from rails.scheme_limits import DECLINES_COUNTED_MAX, LONGEST_WINDOW_SECONDS

_READ = """
WITH token AS (
    SELECT document, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds
    FROM vault_tokens WHERE id = %(source)s AND merchant_id = %(merchant)s AND mode = %(mode)s
)
SELECT
    (SELECT internal -> 'assessed' FROM charges WHERE id = %(charge)s),
    (SELECT jsonb_object_agg(kind, document) FROM policies WHERE merchant_id = %(merchant)s AND mode = %(mode)s),
    (SELECT captured_minor FROM monthly_volumes WHERE merchant_id = %(merchant)s AND mode = %(mode)s
        AND currency = %(currency)s AND month = to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM')),
    to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM'),
    (SELECT document FROM token),
    (SELECT age_seconds FROM token),
    (SELECT jsonb_build_array(
        count(*) FILTER (WHERE created_at > clock_timestamp() - interval '10 minutes'),
        count(*),
        count(*) FILTER (WHERE outcome = 'declined'))
     FROM attempts
     WHERE card_fingerprint = (SELECT document ->> 'fingerprint' FROM token)
       AND flow = 'authorize' AND created_at > clock_timestamp() - interval '24 hours'),
    (SELECT coalesce(jsonb_agg(d.age), '[]') FROM (
        SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 AS age FROM attempts
        WHERE card_fingerprint = (SELECT document ->> 'fingerprint' FROM token)
          AND flow = 'authorize' AND outcome = 'declined'
          AND created_at > clock_timestamp() - make_interval(secs => %(longest)s)
        ORDER BY created_at DESC LIMIT %(most)s) d)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFacts:
    """One row of facts; `assessed` is the decision an earlier run of the same charge committed.

    `decline_ages_seconds`: how long ago the card was last declined, on any rail, newest first.
    """

    assessed: dict[str, Any] | None = None
    risk: RiskPolicy = field(default_factory=RiskPolicy)
    routing: RoutingPolicy = field(default_factory=RoutingPolicy)
    pricing: PricingPlan = field(default_factory=PricingPlan)
    month: str = ""
    month_volume_minor: int = 0
    card_fingerprint: str | None = None
    brand: str | None = None
    bin_country: str | None = None
    token_age_seconds: float | None = None
    attempts_10_minutes: int = 0
    attempts_24_hours: int = 0
    declines_24_hours: int = 0
    decline_ages_seconds: tuple[float, ...] = ()


async def read_decision_facts(pool: AsyncConnectionPool, charge: Charge) -> DecisionFacts:
    """Return everything a decision on `charge` is made from. One round trip, reads only."""
    terms = {
        "source": charge.source,
        "merchant": charge.merchant_id,
        "mode": charge.mode.value,
        "charge": charge.id,
        "currency": charge.currency,
        "longest": LONGEST_WINDOW_SECONDS,
        "most": DECLINES_COUNTED_MAX,
    }
    async with pool.connection() as connection:
        row = await (await connection.execute(_READ, terms)).fetchone()
    assert row is not None
    assessed, policies, volume, month, token, age_seconds, counts, declines = row
    policies, token = policies or {}, token or {}
    return DecisionFacts(
        assessed=assessed,
        risk=risk_policy_of(policies.get("risk")),
        routing=routing_policy_of(policies.get("routing")),
        pricing=pricing_plan_of(policies.get("pricing")),
        month=month,
        month_volume_minor=volume or 0,
        card_fingerprint=token.get("fingerprint"),
        brand=token.get("brand"),
        bin_country=token.get("bin_country"),
        token_age_seconds=age_seconds,
        attempts_10_minutes=counts[0],
        attempts_24_hours=counts[1],
        declines_24_hours=counts[2],
        decline_ages_seconds=tuple(declines),
    )


async def read_routing_policy(pool: AsyncConnectionPool, merchant_id: str, mode: Mode) -> RoutingPolicy:
    """Return the merchant's routing policy, or the default. Reads only."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT document FROM policies WHERE merchant_id = %s AND mode = %s AND kind = 'routing'",
            (merchant_id, mode.value),
        )
        row = await cursor.fetchone()
    return routing_policy_of(row[0] if row else None)


def risk_policy_of(document: Mapping[str, Any] | None) -> RiskPolicy:
    """Return a stored risk policy, or the default for none."""
    if document is None:
        return RiskPolicy()
    return RiskPolicy(
        step_up_at=document["step_up_at"],
        block_at=document["block_at"],
        on_model_outage=RiskDecision(document["on_model_outage"]),
    )
