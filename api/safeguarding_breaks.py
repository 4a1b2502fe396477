"""Breaks of safeguarding over HTTP: what does not match, since when, why, and a person's word that it is over."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import schemas
from api.authentication import AdminCaller
from api.bodies import read_body, validate
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import check_same_request, find_key, keyed, read_key
from api.objects import After, Limit, is_identifier, list_objects, read_object
from api.reading import EVERYTHING, Statement
from api.rendering import Document, json_answer, list_answer
from api.safeguarding import OfBank, OfCurrency, OfMode, platform
from api.safeguarding_schemas import BreakShown, ResolveBreak
from domain.identifiers import Mode
from domain.safeguarding import RootCause
from domain.safeguarding_breaks import Break, age_days, resolved_by_person

router = APIRouter(prefix="/v1/safeguarding", tags=["safeguarding"])

KIND = "safeguarding_break"
ROUNDS_MAX = 5
_READ = (
    "SELECT document, version, (internal ->> 'change')::integer AS change FROM safeguarding_breaks WHERE id = %(id)s"
)


@router.get("/breaks", responses=schemas.listing(BreakShown))
async def list_breaks(
    admin: AdminCaller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    status: Annotated[Literal["open", "resolved"] | None, Query()] = None,
    mode: OfMode = None,
    currency: OfCurrency = None,
    bank: OfBank = None,
) -> Response:
    """Return breaks, the one opened last first."""
    filters = {"status": status, "mode": mode, "currency": currency, "bank": bank}
    documents, more = await list_objects(
        core.reads, EVERYTHING, KIND, limit=limit, starting_after=starting_after, filters=filters
    )
    return list_answer([_shown(one) for one in documents], more)


@router.get("/breaks/{break_id}", responses=schemas.reading(BreakShown))
async def get_break(break_id: str, admin: AdminCaller, core: CoreOf) -> Response:
    """Return a break."""
    return json_answer(_shown(await read_object(core.reads, EVERYTHING, KIND, break_id)))


@router.post(
    "/breaks/{break_id}/resolve",
    responses={**schemas.writing(BreakShown), **schemas.problems(409)},
    openapi_extra=schemas.body(ResolveBreak),
)
async def resolve_break(break_id: str, request: Request, admin: AdminCaller, core: CoreOf) -> Response:
    """End a break by a person's word. Idempotent on the key, audited.

    A reconciliation that still finds the difference opens it again, with the age it has.
    """
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(ResolveBreak, body)
    for _ in range(ROUNDS_MAX):
        stored = await _stored(core, break_id)
        asked = keyed(request, platform(admin, Mode(stored.document["mode"])), key, body)
        claimed = await find_key(core.reads, asked)
        if claimed is not None:
            check_same_request(asked, claimed)
            return json_answer(_shown(stored.document), headers={"Idempotent-Replayed": "true"})
        if not stored.open:
            raise Problem(409, "break_already_resolved", "This break is over.")
        change = resolved_by_person(
            stored,
            cause=RootCause(wanted.root_cause),
            note=wanted.note,
            actor=asked.merchant.actor,
            at=datetime.now(UTC),
        )
        result = await core.services.book.post(change.posting(asked.claim(KIND, break_id)))
        if result.refusal is None and not result.duplicate:
            return json_answer(_shown(change.document))
    raise Problem(409, "break_in_use", "Others keep changing this break. Retry with the same key.")


def _shown(document: Document) -> Document:
    return {**document, "age_days": age_days(document, datetime.now(UTC))}


async def _stored(core: Core, break_id: str) -> Break:
    """Return a break with its version.

    Raises:
        Problem: 404. Not retryable.
    """
    row = None
    if is_identifier(break_id):
        row = await core.reads.first(EVERYTHING, Statement(_READ, {"id": break_id}))
    if row is None:
        raise not_found(KIND)
    return Break(**row)
