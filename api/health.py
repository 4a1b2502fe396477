"""Whether this process runs, and whether it can serve."""

import asyncio
from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

from api import schemas
from api.context import Core, CoreOf
from api.reading import EVERYTHING, Statement
from api.rendering import json_answer

router = APIRouter(tags=["operations"])

CHECK_SECONDS = 2.0


class Alive(schemas.Shown):
    """The event loop turns."""

    status: Literal["ok"]


class Readiness(schemas.Shown):
    """What answers and what does not, by name."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, Literal["ok", "unreachable"]]


@router.get("/healthz", summary="Is the process alive?", responses=schemas.reading(Alive))
async def get_health() -> Response:
    """Answer as long as the event loop turns; depends on nothing else."""
    return json_answer({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it serve?",
    responses={**schemas.reading(Readiness), 503: {"model": Readiness, "description": "Not now; see `checks`."}},
)
async def get_readiness(core: CoreOf) -> Response:
    """Answer 200 when PostgreSQL and Temporal answer, else 503 naming what does not."""
    names = ("postgresql", "temporal")
    outcomes = await asyncio.gather(_database(core), _temporal(core))
    checks = dict(zip(names, ("ok" if outcome else "unreachable" for outcome in outcomes), strict=True))
    ready = all(outcomes)
    return json_answer({"status": "ready" if ready else "not_ready", "checks": checks}, 200 if ready else 503)


async def _database(core: Core) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await core.reads.first(EVERYTHING, Statement("SELECT 1"))
    except Exception:  # Whatever it was: not ready.
        return False
    return True


async def _temporal(core: Core) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await core.services.temporal.service_client.check_health()
    except Exception:  # Whatever it was: not ready.
        return False
