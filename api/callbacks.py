"""What rails tell us on their own: signed in each rail's own way, safe with us before it is acknowledged."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import schemas
from api.authentication import AdminCaller
from api.context import CoreOf
from api.errors import Problem
from api.objects import Limit
from api.reading import Row, Statement
from api.rendering import Document, json_answer, list_answer
from domain.inbound import CallbackRefusedError, CallbackUnreadableError, receipt_document
from domain.timestamps import rfc3339

router = APIRouter(prefix="/v1", tags=["rails"])

_NOTICES = (
    "SELECT id, event_id, kind, rail, rail_key, rail_reference, status, object_id, detail, times_received, tries,"
    " received_at, due_at, handled_at FROM rail_notices"
    " WHERE rail = %(rail)s AND id < %(before)s{filter} ORDER BY id DESC LIMIT %(most)s"
)
_FILTER = " AND status = %(status)s"
ID_MAX = 2**63 - 1


class RailNoticeShown(schemas.Shown):
    """What a rail told, and how far it has come; `event` is the rail's own id of it."""

    object: Literal["rail_notice"]
    sequence: int
    event: str
    rail: str
    kind: str
    status: Literal["received", "unmatched", "handled", "kept"]
    subject: str | None
    rail_key: str | None
    rail_reference: str | None
    detail: str | None
    times_received: int
    tries: int
    received_at: str
    next_try_at: str | None
    handled_at: str | None


class Received(schemas.Shown):
    """What became of a callback: `duplicate` when all of it had come before."""

    received: Literal[True]
    duplicate: bool
    notices: list[dict[str, Any]]


_ANYTHING = {"requestBody": {"required": True, "content": {"*/*": {"schema": {}}}}}
"""Each rail writes and signs in its own way."""


@router.post(
    "/rails/{rail}/callbacks",
    responses={**schemas.reading(Received), **schemas.problems(401)},
    openapi_extra=_ANYTHING,
)
async def receive_callback(rail: str, request: Request, core: CoreOf) -> Response:
    """Take what a rail, or the provider of several, tells of its own accord, signed in the rail's own way.

    2xx once it is safe with us, also when it had come before or is about nothing we know.
    """
    body = await request.body()
    try:
        if core.services.inbox is None:
            raise LookupError(rail)
        receipts = await core.services.inbox.receive(rail, dict(request.headers), body)
    except LookupError as error:
        raise Problem(404, "rail_not_found", "No rail of this name calls back.", param="rail") from error
    except CallbackRefusedError as error:
        raise Problem(401, "signature_invalid", "The signature is missing, wrong or too old.") from error
    except CallbackUnreadableError as error:
        raise Problem(422, "callback_unreadable", f"The callback is signed, but {error}.") from error
    return json_answer(
        {
            "received": True,
            "duplicate": bool(receipts) and not any(receipt.new for receipt in receipts),
            "notices": [receipt_document(receipt) for receipt in receipts],
        }
    )


@router.get("/rails/{rail}/callbacks", responses=schemas.listing(RailNoticeShown))
async def list_callbacks(
    rail: str,
    principal: AdminCaller,
    core: CoreOf,
    limit: Limit = 10,
    before: Annotated[int, Query(ge=1, le=ID_MAX, description="Only notices older than this `sequence`.")] = ID_MAX,
    status: Annotated[Literal["received", "unmatched", "handled", "kept"] | None, Query()] = None,
) -> Response:
    """Return what a rail told, newest first, with how far each notice has come. For administrators."""
    sql = _NOTICES.format(filter=_FILTER if status is not None else "")
    terms = {"rail": rail, "before": before, "status": status, "most": limit + 1}
    (rows,) = await core.reads.rows(principal.scope, Statement(sql, terms))
    return list_answer([_shown(row) for row in rows[:limit]], len(rows) > limit)


def _shown(row: Row) -> Document:
    return {
        "object": "rail_notice",
        "sequence": row["id"],
        "event": row["event_id"],
        "rail": row["rail"],
        "kind": row["kind"],
        "status": row["status"],
        "subject": row["object_id"],
        "rail_key": row["rail_key"],
        "rail_reference": row["rail_reference"],
        "detail": row["detail"],
        "times_received": row["times_received"],
        "tries": row["tries"],
        "received_at": rfc3339(row["received_at"]),
        "next_try_at": rfc3339(row["due_at"]),
        "handled_at": rfc3339(row["handled_at"]),
    }
