"""What the books remember of attempts and routes: answers already known, plans already made."""

from typing import Any

from psycopg_pool import AsyncConnectionPool
from pydantic import TypeAdapter

from domain.rail import DEFINITE_OUTCOMES, DeclineClass, Outcome, RailAnswer, RouteOption

_ANSWER = "SELECT document FROM attempts WHERE id = %s"
_ROUTE = "SELECT internal -> 'route' FROM payouts WHERE id = %s"
_OPTIONS: TypeAdapter[tuple[RouteOption, ...]] = TypeAdapter(tuple[RouteOption, ...])


async def stored_answer(pool: AsyncConnectionPool, rail_key: str) -> RailAnswer | None:
    """Return the definite answer an attempt already has in the books, or None when it has none."""
    async with pool.connection() as connection:
        row = await (await connection.execute(_ANSWER, (rail_key,))).fetchone()
    if row is None:
        return None
    document: dict[str, Any] = row[0]
    outcome = Outcome(document["outcome"])
    if outcome not in DEFINITE_OUTCOMES:
        return None
    decline_class = document.get("decline_class")
    return RailAnswer(
        outcome=outcome,
        decline_code=document.get("decline_code"),
        decline_class=DeclineClass(decline_class) if decline_class else None,
        rail_reference=document.get("rail_reference"),
        final_funds=bool(document.get("final_funds")),
        latency_ms=document.get("latency_ms") or 0.0,
    )


async def stored_route(pool: AsyncConnectionPool, payout_id: str) -> tuple[RouteOption, ...] | None:
    """Return the route plan a payout was committed with, or None when it is not in the books. Reads only."""
    async with pool.connection() as connection:
        row = await (await connection.execute(_ROUTE, (payout_id,))).fetchone()
    return None if row is None else _OPTIONS.validate_python(row[0] or [])
