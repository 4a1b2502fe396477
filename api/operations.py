"""For operators: everything that is not final, and what a person may do about it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api import schemas
from api.authentication import Caller, Merchant, Principal
from api.bodies import FreeText, WriteRequest, read_body, validate
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import KeyedRequest, check_same_request, find_key, keyed, read_key
from api.objects import After, Limit, Status, check_cursor, is_identifier, read_object
from api.orphans import void_orphan
from api.reading import Row
from api.rendering import Document, json_answer, list_answer
from api.resolving import resolve_outcome
from api.stuck import StuckQuestion, order_keys, owner_statement, stuck_document, stuck_statement
from domain.identifiers import Mode
from domain.ledger import AuditDraft, Posting, RefusalCode
from workflows.orphan import VoidOrphan
from workflows.rail_notices import HearsRails, RailNews

router = APIRouter(prefix="/v1/operations", tags=["operations"])

Kind = Literal["charge", "refund", "payout", "transfer", "dispute", "orphan"]
OlderThan = Annotated[int, Query(ge=0, le=31_536_000, description="Only what has waited for so many seconds.")]


class AttemptOfStuck(schemas.Shown):
    """The last order given to a rail."""

    number: int
    rail_key: str
    outcome: str


class StuckOperation(schemas.Shown):
    """Something that is not final. `why` is what it waits for, `since` when its status last changed."""

    object: Literal["stuck_operation"]
    kind: Kind
    id: str
    merchant: str
    mode: Literal["test", "live"]
    status: str
    why: str
    since: str
    next_check_at: str | None
    rail: str | None
    amount: int | None
    currency: str | None
    attempt: AttemptOfStuck | None
    workflow_id: str | None
    temporal_url: str | None
    created_at: str


class AskNow(WriteRequest):
    """Nothing but the key: the rail is asked now instead of at the next check."""


class ResolveOperation(WriteRequest):
    """A person's finding about an order nobody tells about. `approved`: the rail did it; `declined`: it did not."""

    outcome: Literal["approved", "declined"]
    evidence: Annotated[FreeText, Field(description="What shows it: a statement, a ticket, a name.")]


class GiveBack(WriteRequest):
    """Why the rail is to be asked again to give an orphan back."""

    note: FreeText


@router.get("/stuck", responses=schemas.listing(StuckOperation))
async def list_stuck_operations(
    principal: Caller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    kind: Kind | None = None,
    status: Status = None,
    older_than: OlderThan = 0,
) -> Response:
    """Return everything that is not final, oldest first: the merchant's own, or with an admin key everybody's."""
    question = StuckQuestion(
        kind=kind,
        status=status,
        older_than_seconds=older_than,
        starting_after=check_cursor(starting_after),
        limit=limit,
    )
    (rows,) = await core.reads.rows(principal.scope, stuck_statement(question))
    return list_answer([_shown(core, row) for row in rows[:limit]], len(rows) > limit)


@router.post("/{operation_id}/inquire", responses=schemas.change(StuckOperation), openapi_extra=schemas.body(AskNow))
async def inquire_now(operation_id: str, request: Request, principal: Caller, core: CoreOf) -> Response:
    """Have the rail asked now what became of the order; the answer comes as any answer to a question does.

    Answers 202: the question is on its way. Idempotent on the key, audited.
    """
    body = await read_body(request)
    key = read_key(request, body)
    validate(AskNow, body)
    row = await _open_row(core, principal, operation_id)
    asked = _asked(request, principal, row, key, body)
    keys = order_keys(row)
    if not keys or row["workflow_id"] is None:
        raise Problem(409, "nothing_to_ask", f"The {row['kind']} waits for {row['why']}, not for a rail.")
    replayed = await _note(core, asked, row, action="inquiry_requested", details={"rail_keys": keys})
    handle = core.services.temporal.get_workflow_handle(row["workflow_id"])
    for rail_key in keys:
        news = RailNews(rail_key=rail_key, event_id=f"{asked.key}/{rail_key}")
        await handle.signal(HearsRails.rail_told, news)
    return json_answer(_shown(core, row), 202, {"Idempotent-Replayed": "true"} if replayed else None)


@router.post(
    "/{operation_id}/resolve", responses=schemas.change(schemas.Charge), openapi_extra=schemas.body(ResolveOperation)
)
async def resolve_operation(operation_id: str, request: Request, principal: Caller, core: CoreOf) -> Response:
    """End an order's unknown outcome by a person's finding: of a charge, its capture or void, a refund or a payout.

    Answers with the object; it then goes on as if the rail had said so, and the evidence stays on it.
    """
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(ResolveOperation, body)
    row = await _row(core, principal, operation_id)
    asked = _asked(request, principal, row, key, body)
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
    else:
        await resolve_outcome(core, asked, row["kind"], operation_id, outcome=wanted.outcome, evidence=wanted.evidence)
    document = await read_object(core.reads, asked.merchant.scope, row["kind"], operation_id)
    status = 202 if document["status"] == "unknown" else 200
    return json_answer(document, status, {"Idempotent-Replayed": "true"} if claimed is not None else None)


@router.post(
    "/{operation_id}/void_orphan",
    responses=schemas.change(schemas.ExceptionShown),
    openapi_extra=schemas.body(GiveBack),
)
async def void_orphan_now(operation_id: str, request: Request, principal: Caller, core: CoreOf) -> Response:
    """Ask the rail once more to give an orphan back, after it had refused. The id is the orphan's exception."""
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(GiveBack, body)
    exception = await read_object(core.reads, principal.scope, "exception", operation_id)
    row = await _owner(core, principal, operation_id)
    asked = _asked(request, principal, row, key, body)
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
    else:
        claim = asked.claim("exception", operation_id)
        end = await void_orphan(core, exception, VoidOrphan(actor=asked.merchant.actor, note=wanted.note, claim=claim))
        if end.answer is not None and end.answer.conflict_code is not None:
            raise Problem(409, end.answer.conflict_code, end.answer.conflict_detail or "This cannot be done now.")
        if end.answer is None and not end.waiting:
            raise Problem(409, "exception_already_resolved", "Nothing waits to be given back any more.")
    document = await read_object(core.reads, asked.merchant.scope, "exception", operation_id)
    status = 202 if document["status"] == "open" else 200
    return json_answer(document, status, {"Idempotent-Replayed": "true"} if claimed is not None else None)


def _shown(core: Core, row: Row) -> Document:
    services = core.services
    return stuck_document(row, ui_url=services.temporal_ui_url, namespace=services.temporal_namespace)


def _asked(request: Request, principal: Principal, row: Row, key: str, body: dict[str, Any]) -> KeyedRequest:
    """Return the request in the key space of the object's merchant.

    Raises:
        Problem: 403, in live mode whoever is paid by the answer must not be the one who gives it. Not retryable.
    """
    mode = Mode(row["mode"])
    if mode is Mode.LIVE and not principal.admin:
        raise Problem(403, "admin_key_required", "In live mode an administrator does this.")
    merchant = Merchant(merchant_id=row["merchant_id"], mode=mode, actor=f"api_key:{principal.key_id}")
    return keyed(request, merchant, key, body)


async def _note(core: Core, asked: KeyedRequest, row: Row, *, action: str, details: dict[str, Any]) -> bool:
    """Commit an operator's act with its key and audit record; True if it had been committed before.

    Raises:
        Problem: 422, the key belongs to another request. Not retryable.
    """
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
        return True
    kind = "exception" if row["kind"] == "orphan" else row["kind"]
    result = await core.services.book.post(
        Posting(
            key=f"operator:{asked.workflow_id}",
            merchant_id=asked.merchant.merchant_id,
            mode=asked.merchant.mode,
            audit=AuditDraft(
                actor=asked.merchant.actor, action=f"{row['kind']}.{action}", object_id=row["id"], details=details
            ),
            claim=asked.claim(kind, row["id"]),
        )
    )
    if result.refusal is not None and result.refusal.code is not RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
        raise Problem(422, "idempotency_key_reused", "This idempotency key was used for another request.", param="key")
    return result.duplicate


async def _open_row(core: Core, principal: Principal, operation_id: str) -> Row:
    """Return an object that is not final, as the list knows it.

    Raises:
        Problem: 404 no such object, 409 it is final. Not retryable.
    """
    owner = await _row(core, principal, operation_id)
    question = StuckQuestion(kind=owner["kind"], object_id=operation_id, limit=1)
    row = await core.reads.first(principal.scope, stuck_statement(question))
    if row is None:
        raise Problem(409, f"{owner['kind']}_is_final", f"The {owner['kind']} is final; nothing waits any more.")
    return row


_KINDS = {"ch": "charge", "re": "refund", "po": "payout", "tr": "transfer", "exc": "orphan"}


async def _row(core: Core, principal: Principal, operation_id: str) -> Row:
    """Return whose an object is and of which kind; of disputes nothing can be asked or resolved here.

    Raises:
        Problem: 404. Not retryable.
    """
    kind = _KINDS.get(operation_id.split("_", 1)[0])
    if kind is None or not is_identifier(operation_id):
        raise not_found("operation")
    return {**await _owner(core, principal, operation_id, kind), "kind": kind}


async def _owner(core: Core, principal: Principal, operation_id: str, kind: str = "orphan") -> Row:
    row = await core.reads.first(principal.scope, owner_statement(kind, operation_id))
    if row is None:
        raise not_found("operation")
    return row
