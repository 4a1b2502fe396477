"""The merchant's events, read by sequence."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import schemas
from api.authentication import MerchantCaller
from api.context import CoreOf
from api.errors import not_found
from api.objects import Limit, is_identifier
from api.reading import Statement
from api.rendering import json_answer, list_answer
from domain.webhooks import type_patterns
from events.cursor import EventFilter, event_document, events_after, one_event

router = APIRouter(prefix="/v1", tags=["events"])

SEQUENCE_MAX = 2**63 - 1
Filter = Annotated[str | None, Query(max_length=200, pattern=r"^[A-Za-z0-9_./*-]+$")]


@router.get("/events", responses=schemas.listing(schemas.Event))
async def list_events(
    merchant: MerchantCaller,
    core: CoreOf,
    after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX, description="The last sequence already seen.")] = 0,
    limit: Limit = 100,
    type: Filter = None,
    object_id: Filter = None,
) -> Response:
    """Return events after a sequence, oldest first. Nothing is ever inserted before what was read."""
    wanted = EventFilter(patterns=None if type is None else type_patterns([type]), object_id=object_id)
    sql, parameters = events_after(
        merchant.merchant_id, merchant.mode.value, after=after, limit=limit + 1, wanted=wanted
    )
    (rows,) = await core.reads.rows(merchant.scope, Statement(sql, parameters))
    return list_answer([event_document(row) for row in rows[:limit]], len(rows) > limit)


@router.get("/events/{event_id}", responses=schemas.reading(schemas.Event))
async def get_event(event_id: str, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return one event."""
    row = await core.reads.first(merchant.scope, Statement(*one_event(event_id))) if is_identifier(event_id) else None
    if row is None:
        raise not_found("event")
    return json_answer(event_document(row))
