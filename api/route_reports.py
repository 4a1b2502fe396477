"""Why a charge went where it went, and how the rails have done."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from api import schemas
from api.authentication import Caller
from api.context import CoreOf
from api.errors import not_found
from api.objects import is_identifier
from api.reading import Row, Statement
from api.rendering import json_answer
from domain.intervals import wilson_interval
from domain.timestamps import rfc3339

router = APIRouter(prefix="/v1", tags=["routing"])

HOURS_MAX = 24 * 31
_ROUTE = "SELECT document, internal -> 'assessed' -> 'charge' -> 'route' AS route FROM charges WHERE id = %(id)s"
_SEGMENTS = {"rail": "''"} | {name: f"document -> 'segment' ->> '{name}'" for name in ("brand", "country", "band")}
_PERFORMANCE = """
SELECT rail, coalesce({segment}, '') AS segment, document ->> 'currency' AS currency,
    count(*) FILTER (WHERE outcome = 'approved') AS approved,
    count(*) FILTER (WHERE outcome = 'declined' AND document ->> 'decline_class' = 'soft') AS declined_soft,
    count(*) FILTER (WHERE outcome = 'declined' AND document ->> 'decline_class' <> 'soft') AS declined_otherwise,
    count(*) FILTER (WHERE outcome = 'not_attempted') AS not_attempted,
    count(*) FILTER (WHERE outcome IN ('unknown', 'pending', 'sent')) AS open,
    avg((document ->> 'cost_estimate_minor')::float8) FILTER (WHERE outcome = 'approved') AS cost,
    percentile_disc(array[0.5, 0.95]) WITHIN GROUP (ORDER BY (document ->> 'latency_ms')::float8) AS latency
FROM attempts
WHERE flow = %(flow)s AND created_at > %(since)s
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


class RankedRail(BaseModel):
    """One rank of a stored plan; the utility is the sum of its terms, all in minor units."""

    rank: int
    rail: str
    utility: float
    landed_cost: float
    approval_probability: float
    settlement_seconds: float
    terms: dict[str, float]
    reason: str
    outcome: str | None


class ChargeRoute(BaseModel):
    """The plan a charge was decided by, as it was stored before the first rail was called."""

    object: Literal["charge_route"]
    charge: str
    amount: int
    currency: str
    route: list[RankedRail]


class RailPerformance(BaseModel):
    """How a rail did with one segment. `approval_rate` counts approvals and soft declines only."""

    rail: str
    segment: str
    currency: str
    approved: int
    declined_soft: int
    declined_otherwise: int
    not_attempted: int
    open: int
    approval_rate: float | None
    approval_interval: list[float]
    cost_estimate_mean: float | None
    latency_ms: dict[str, float] | None


class RoutingPerformance(BaseModel):
    """How the rails did since an instant."""

    object: Literal["routing_performance"]
    since: str
    flow: str
    by: str
    data: list[RailPerformance]


@router.get("/charges/{charge_id}/route", responses=schemas.reading(ChargeRoute))
async def get_charge_route(charge_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return the plan a charge was decided by, every term of it, and what each rail tried then said."""
    if not is_identifier(charge_id):
        raise not_found("charge")
    row = await core.reads.first(principal.scope, Statement(_ROUTE, {"id": charge_id}))
    if row is None:
        raise not_found("charge")
    charge = row["document"]
    outcomes = {attempt["rail"]: attempt["outcome"] for attempt in charge["attempts"]}
    ranked = [
        {
            "rank": place,
            "rail": option["rail"],
            "utility": option["utility"],
            "landed_cost": option["landed_cost_minor"],
            "approval_probability": option["approval_probability"],
            "settlement_seconds": option["settlement_seconds"],
            "terms": option["terms"],
            "reason": option["reason"],
            "outcome": outcomes.get(option["rail"]),
        }
        for place, option in enumerate(row["route"] or [], 1)
    ]
    shown = {"amount": charge["amount"], "currency": charge["currency"], "route": ranked}
    return json_answer({"object": "charge_route", "charge": charge_id, **shown})


@router.get("/routing/performance", responses=schemas.reading(RoutingPerformance))
async def get_routing_performance(
    principal: Caller,
    core: CoreOf,
    hours: Annotated[int, Query(ge=1, le=HOURS_MAX)] = 24,
    flow: Literal["authorize", "payout"] = "authorize",
    by: Literal["rail", "brand", "country", "band"] = "rail",
) -> Response:
    """Return approval rate with its 95 % interval, cost and latency of each rail and segment."""
    since = datetime.now(UTC) - timedelta(hours=hours)
    statement = Statement(_PERFORMANCE.format(segment=_SEGMENTS[by]), {"flow": flow, "since": since})
    (rows,) = await core.reads.rows(principal.scope, statement)
    data = [_performance(row) for row in rows]
    return json_answer({"object": "routing_performance", "since": rfc3339(since), "flow": flow, "by": by, "data": data})


def _performance(row: Row) -> dict[str, Any]:
    decided = row["approved"] + row["declined_soft"]
    latency = row["latency"]
    return {
        **{name: row[name] for name in ("rail", "segment", "currency", "approved", "declined_soft")},
        **{name: row[name] for name in ("declined_otherwise", "not_attempted", "open")},
        "approval_rate": row["approved"] / decided if decided else None,
        "approval_interval": list(wilson_interval(row["approved"], decided)),
        "cost_estimate_mean": row["cost"],
        "latency_ms": None if latency is None or latency[0] is None else {"p50": latency[0], "p95": latency[1]},
    }
