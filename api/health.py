"""Whether this process runs, and whether it can serve."""

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from api.context import Core, CoreOf
from api.reading import EVERYTHING, Statement
from api.rendering import json_answer

router = APIRouter(tags=["operations"])

CHECK_SECONDS = 2.0


@router.get("/healthz", summary="Is the process alive?")
async def get_health() -> Response:
    """Answer as long as the event loop turns; depends on nothing else."""
    return json_answer({"status": "ok"})


@router.get("/readyz", summary="Can it serve?")
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
