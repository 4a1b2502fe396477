"""Disputes as they stand; evidence is not taken here yet."""

from fastapi import APIRouter
from starlette.responses import Response

from api import schemas
from api.authentication import Caller
from api.context import CoreOf
from api.objects import After, Limit, OfCharge, Status, list_objects, read_object
from api.rendering import json_answer, list_answer

router = APIRouter(prefix="/v1", tags=["disputes"])


@router.get("/disputes/{dispute_id}", responses=schemas.reading(schemas.Dispute))
async def get_dispute(dispute_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return a dispute."""
    return json_answer(await read_object(core.reads, principal.scope, "dispute", dispute_id))


@router.get("/disputes", responses=schemas.listing(schemas.Dispute))
async def list_disputes(
    principal: Caller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    charge: OfCharge = None,
    status: Status = None,
) -> Response:
    """Return disputes, newest first."""
    filters = {"charge": charge, "status": status}
    documents, more = await list_objects(
        core.reads, principal.scope, "dispute", limit=limit, starting_after=starting_after, filters=filters
    )
    return list_answer(documents, more)
