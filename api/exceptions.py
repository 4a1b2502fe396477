"""The exceptions queue: what no machine could decide, and a person's decision about it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import schemas
from api.authentication import Caller, Merchant, Principal
from api.bodies import FreeText, WriteRequest, read_body, validate
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import check_same_request, find_key, keyed, read_key
from api.objects import After, Limit, is_identifier, list_objects, read_object
from api.reading import Row, Statement
from api.rendering import json_answer, list_answer
from api.resolving import resolve_outcome
from domain.identifiers import Mode

router = APIRouter(prefix="/v1/reconciliation", tags=["reconciliation"])

_SUBJECTS = {"ch": "charge", "re": "refund", "po": "payout"}
"""Kinds by the prefix of an exception's subject."""


class ResolveException(WriteRequest):
    """A person's finding. `approved`: the rail did it; `declined`: it did not."""

    action: Literal["approved", "declined"]
    note: FreeText


@router.get("/exceptions", responses=schemas.listing(schemas.ExceptionShown))
async def list_exceptions(
    principal: Caller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    status: Annotated[Literal["open", "resolved"] | None, Query()] = None,
) -> Response:
    """Return exceptions, newest first: the merchant's own, or with an admin key everybody's."""
    documents, more = await list_objects(
        core.reads,
        principal.scope,
        "exception",
        limit=limit,
        starting_after=starting_after,
        filters={"status": status},
    )
    return list_answer(documents, more)


@router.get("/exceptions/{exception_id}", responses=schemas.reading(schemas.ExceptionShown))
async def get_exception(exception_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return an exception."""
    return json_answer(await read_object(core.reads, principal.scope, "exception", exception_id))


@router.post(
    "/exceptions/{exception_id}/resolve",
    responses=schemas.change(schemas.ExceptionShown),
    openapi_extra=schemas.body(ResolveException),
)
async def resolve_exception(exception_id: str, request: Request, principal: Caller, core: CoreOf) -> Response:
    """End an unknown outcome by a person's finding; what it is about then goes on as if the rail had said so."""
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(ResolveException, body)
    row = await _exception_row(core, principal, exception_id)
    merchant = Merchant(merchant_id=row["merchant_id"], mode=Mode(row["mode"]), actor=f"api_key:{principal.key_id}")
    if merchant.mode is Mode.LIVE and not principal.admin:
        # Whoever is paid by the answer must not be the one who gives it.
        raise Problem(403, "admin_key_required", "In live mode an administrator resolves exceptions.")
    asked = keyed(request, merchant, key, body)
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
    subject = row["document"]["subject"]
    kind = _SUBJECTS.get(subject.split("_", 1)[0])
    if kind is None or row["document"]["kind"] != "unknown_outcome":
        raise Problem(409, "exception_not_resolvable", "Only unknown outcomes are resolved by a finding.")
    if claimed is None:
        await resolve_outcome(core, asked, kind, subject, outcome=wanted.action, evidence=wanted.note)
    exception = await read_object(core.reads, merchant.scope, "exception", exception_id)
    document = await read_object(core.reads, merchant.scope, kind, subject)
    headers = {"Idempotent-Replayed": "true"} if claimed is not None else None
    status = 202 if document["status"] == "unknown" else 200
    return json_answer({**exception, kind: document}, status, headers)


async def _exception_row(core: Core, principal: Principal, exception_id: str) -> Row:
    sql = "SELECT merchant_id, mode, document FROM exceptions WHERE id = %(id)s"
    row = None
    if is_identifier(exception_id):
        row = await core.reads.first(principal.scope, Statement(sql, {"id": exception_id}))
    if row is None:
        raise not_found("exception")
    return row
