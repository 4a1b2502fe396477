"""The merchant's events, read by sequence: a page, a page that is waited for, or a stream."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response, StreamingResponse

from api import schemas
from api.authentication import Merchant, MerchantCaller
from api.context import Core, CoreOf
from api.errors import not_found
from api.objects import Limit, is_identifier
from api.reading import Statement
from api.rendering import Document, json_answer, list_answer, ordered
from domain.webhooks import type_patterns
from events.cursor import EventFilter, event_document, events_after, one_event

router = APIRouter(prefix="/v1", tags=["events"])

SEQUENCE_MAX = 2**63 - 1
WAIT_SECONDS_MAX = 30.0
LOOK_SECONDS = 0.2
"""How often a request that waits looks: one row by its key, a few times a second for each of them."""

STREAM_EVENTS = 100
STREAM_SECONDS_MAX = 300.0
"""A stream ends after this and the client comes again with the last id: a revoked key does not listen for ever."""

KEEPALIVE_SECONDS = 15.0
Filter = Annotated[str | None, Query(max_length=200, pattern=r"^[A-Za-z0-9_./-]+$")]
TypeFilter = Annotated[
    str | None, Query(max_length=200, pattern=r"^[a-z_.*]+$", description="`charge.settled`, or `charge.*`.")
]
After = Annotated[int, Query(ge=0, le=SEQUENCE_MAX, description="The last sequence already seen.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """Whose events are read, and which of them."""

    core: Core
    merchant: Merchant
    wanted: EventFilter

    async def after(self, sequence: int, limit: int) -> list[Document]:
        """Return at most `limit` events after a sequence."""
        merchant = self.merchant
        query = events_after(merchant.merchant_id, merchant.mode.value, after=sequence, limit=limit, wanted=self.wanted)
        (rows,) = await self.core.reads.rows(merchant.scope, Statement(*query))
        return [event_document(row) for row in rows]


def _reading(core: Core, merchant: Merchant, type_: str | None, object_id: str | None) -> _Reading:
    patterns = None if type_ is None else type_patterns([type_])
    return _Reading(core=core, merchant=merchant, wanted=EventFilter(patterns=patterns, object_id=object_id))


@router.get("/events", responses=schemas.listing(schemas.Event))
async def list_events(
    merchant: MerchantCaller,
    core: CoreOf,
    after: After = 0,
    limit: Limit = 100,
    type: TypeFilter = None,
    object_id: Filter = None,
    wait: Annotated[
        float, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for an event when there is none yet.")
    ] = 0,
) -> Response:
    """Return events after a sequence, oldest first. Nothing is ever inserted before what was read."""
    reading = _reading(core, merchant, type, object_id)
    deadline = time.monotonic() + wait
    while not (found := await reading.after(after, limit + 1)) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
    return list_answer(found[:limit], len(found) > limit)


@router.get("/events/stream", responses=schemas.streaming("text/event-stream", "Events as they happen."))
async def stream_events(
    merchant: MerchantCaller,
    core: CoreOf,
    after: After = 0,
    type: TypeFilter = None,
    object_id: Filter = None,
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$")] = None,
) -> Response:
    """Return events as they happen (server-sent events): each one's id is its sequence.

    Begins after `Last-Event-ID`, as browsers send it when they reconnect, or after `after`.
    """
    begin = int(last_event_id) if last_event_id is not None else after
    lines = _lines(_reading(core, merchant, type, object_id), begin)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


@router.get("/events/{event_id}", responses=schemas.reading(schemas.Event))
async def get_event(event_id: str, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return one event."""
    row = await core.reads.first(merchant.scope, Statement(*one_event(event_id))) if is_identifier(event_id) else None
    if row is None:
        raise not_found("event")
    return json_answer(event_document(row))


async def _lines(reading: _Reading, sequence: int) -> AsyncIterator[bytes]:
    """Yield events after a sequence until the stream's time is up; a client that leaves ends it."""
    yield b": events of Ledgerline\nretry: 1000\n\n"
    ends = time.monotonic() + STREAM_SECONDS_MAX
    heard = time.monotonic()
    while time.monotonic() < ends:
        # A client that leaves cancels this; the read ends by itself, so that its connection goes back to the pool.
        found = await asyncio.shield(asyncio.create_task(reading.after(sequence, STREAM_EVENTS)))
        for event in found:
            yield _line(event)
            sequence = event["sequence"]
        if found:
            heard = time.monotonic()
            continue
        if time.monotonic() - heard > KEEPALIVE_SECONDS:
            heard = time.monotonic()
            yield b": still here\n\n"
        await asyncio.sleep(LOOK_SECONDS)


def _line(event: Mapping[str, Any]) -> bytes:
    text = json.dumps(ordered(dict(event)), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"id: {event['sequence']}\nevent: {event['type']}\ndata: {text}\n\n".encode()
