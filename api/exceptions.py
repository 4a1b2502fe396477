"""The exceptions queue: what no machine could decide, and a person's decision about it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api import schemas
from api.authentication import Caller, Merchant, Principal
from api.bodies import AccountId, FreeText, WriteRequest, read_body, validate
from api.closing import Decision, close_exception
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import check_same_request, find_key, keyed, read_key
from api.objects import After, Limit, is_identifier, list_objects, read_object
from api.reading import Row, Statement
from api.rendering import json_answer, list_answer
from api.resolving import resolve_outcome
from domain.identifiers import Mode
from domain.money import AMOUNT_MINOR_MAX

router = APIRouter(prefix="/v1/reconciliation", tags=["reconciliation"])

_SUBJECTS = {"ch": "charge", "re": "refund", "po": "payout"}
"""Kinds by the prefix of an exception's subject."""


class ResolveException(WriteRequest):
    """A person's finding. Of an unknown outcome `approved` (the rail did it) or `declined` (it did not).

    Of what does not fit: `accept` moves nothing, `write_off` takes the difference as the rail's cost,
    `credit_account` gives what nobody was credited with to `account`. `amount` (signed: what the rail's side has
    more, or less) where the exception states none, or a part of it.
    """

    action: Literal["approved", "declined", "accept", "write_off", "credit_account"]
    note: FreeText
    account: AccountId | None = None
    amount: Annotated[int, Field(ge=-AMOUNT_MINOR_MAX, le=AMOUNT_MINOR_MAX)] | None = None


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
    """Close an exception by a person's decision: by whom, why and, where money moves, with a ledger transaction.

    An unknown outcome goes on as if the rail had said so. In live mode only an administrator decides.
    """
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
    if row["document"]["kind"] != "unknown_outcome":
        decision = Decision(action=wanted.action, note=wanted.note, account=wanted.account, amount_minor=wanted.amount)
        replayed = await close_exception(core, asked, row, decision, claimed=claimed is not None)
        exception = await read_object(core.reads, principal.scope, "exception", exception_id)
        return json_answer(exception, 200, {"Idempotent-Replayed": "true"} if replayed else None)
    if wanted.action not in ("approved", "declined") or wanted.account is not None or wanted.amount is not None:
        detail = "An unknown outcome was `approved` or `declined`, and nothing else is named."
        raise Problem(422, "action_not_possible", detail, param="action")
    subject = row["document"]["subject"]
    kind = _SUBJECTS.get(subject.split("_", 1)[0])
    if kind is None:
        raise Problem(409, "exception_not_resolvable", "Only charges, refunds and payouts have unknown outcomes.")
    if claimed is None:
        await resolve_outcome(core, asked, kind, subject, outcome=wanted.action, evidence=wanted.note)
    exception = await read_object(core.reads, merchant.scope, "exception", exception_id)
    document = await read_object(core.reads, merchant.scope, kind, subject)
    headers = {"Idempotent-Replayed": "true"} if claimed is not None else None
    status = 202 if document["status"] == "unknown" else 200
    return json_answer({**exception, kind: document}, status, headers)


async def _exception_row(core: Core, principal: Principal, exception_id: str) -> Row:
    sql = "SELECT id, merchant_id, mode, version, document FROM exceptions WHERE id = %(id)s"
    row = None
    if is_identifier(exception_id):
        row = await core.reads.first(principal.scope, Statement(sql, {"id": exception_id}))
    if row is None:
        raise not_found("exception")
    return row
