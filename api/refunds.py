"""Refunds: create, read. What may be refunded is decided with the commit, by the ledger."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import schemas
from api.authentication import Caller, MerchantCaller
from api.bodies import Amount, FreeText, Metadata, WriteRequest
from api.context import Core, CoreOf
from api.errors import Problem
from api.idempotency import KeyedRequest, check_same_request, claimed_key, key_statement, read_write
from api.objects import After, Limit, OfCharge, Status, first_document, list_objects, one_statement, read_object
from api.reading import Statement
from api.rendering import Document, json_answer, list_answer, operation_answer, ordered
from api.starting import Start
from domain.identifiers import new_identifier, rail_key
from domain.money import format_amount
from domain.refund import Refund, refund_document
from workflows.refund import RefundWorkflow, StartRefund

router = APIRouter(prefix="/v1", tags=["refunds"])

_BOUND = (
    "SELECT (coalesce((SELECT sum(r.amount_minor) FROM refunds r"
    " WHERE r.charge_id = %(id)s AND r.status <> 'failed'), 0)"
    " + coalesce((SELECT sum(d.amount_minor) FROM disputes d"
    " WHERE d.charge_id = %(id)s AND d.status <> 'won' AND d.status NOT LIKE 'warning%%'), 0))::bigint AS bound"
)


class CreateRefund(WriteRequest):
    """A refund of a captured charge: all that is left of it when `amount` is not given."""

    charge: Annotated[str, Field(pattern=r"^ch_[a-z0-9]{1,60}$")]
    amount: Amount | None = None
    reason: FreeText | None = None
    metadata: Metadata = Field(default_factory=dict)


@router.post("/refunds", responses=schemas.operation(schemas.Refund), openapi_extra=schemas.body(CreateRefund))
async def create_refund(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Give money of a captured charge back to the card."""
    asked, wanted = await read_write(request, merchant, CreateRefund)
    refund = await _new_refund(core, asked, wanted)
    landing = await core.flights.land(
        Start(
            asked=asked,
            workflow=RefundWorkflow.run,
            argument=StartRefund(refund=refund, claim=asked.claim("refund", refund.id), actor=merchant.actor),
            initial=refund_document(refund),
            summary=f"{format_amount(refund.amount_minor, refund.currency)} of {refund.charge}",
        )
    )
    core.metrics.count_operation(landing.document, replayed=landing.replayed)
    return operation_answer(landing.document, replayed=landing.replayed)


async def _new_refund(core: Core, asked: KeyedRequest, wanted: CreateRefund) -> Refund:
    """Return the refund to start.

    Raises:
        Problem: 404 no such charge, 409 it is not captured, 422 the key belongs to another request.
            Not retryable.
    """
    merchant = asked.merchant
    bound = Statement(_BOUND, {"id": wanted.charge})
    keys, charges, bounds = await core.reads.rows(
        merchant.scope, key_statement(asked), one_statement("charge", wanted.charge), bound
    )
    claimed = claimed_key(keys)
    if claimed is not None:
        check_same_request(asked, claimed)
    charge = first_document("charge", charges)
    if charge["amount_captured"] == 0:
        raise _not_captured(charge)
    remaining = charge["amount_captured"] - bounds[0]["bound"]
    number = next(attempt["number"] for attempt in charge["attempts"] if attempt["outcome"] == "approved")
    return Refund(
        id=new_identifier("re"),
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        charge=charge["id"],
        # With nothing left the ledger refuses, and the refusal is remembered under the key; a repeat of
        # a full refund is led to the first one by its key.
        amount_minor=wanted.amount or (remaining if remaining > 0 else charge["amount_captured"]),
        currency=charge["currency"],
        account=charge["account"],
        rail=charge["rail"],
        original_rail_key=rail_key(charge["id"], number),
        workflow_id=asked.workflow_id,
        created_at=datetime.now(UTC),
        reason=wanted.reason,
        metadata=wanted.metadata,
        source=charge["source"],
        fee_policy=(charge.get("pricing") or {}).get("refund_fee", "none"),
    )


def _not_captured(charge: Document) -> Problem:
    status = charge["status"]
    over = status in ("declined", "voided", "expired")
    code = "charge_not_captured" if over else "use_void"
    advice = "there is nothing to give back" if over else "void it instead"
    return Problem(409, code, f"The charge is {status}, not captured: {advice}.", members={"charge": ordered(charge)})


@router.get("/refunds/{refund_id}", responses=schemas.reading(schemas.Refund))
async def get_refund(refund_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return a refund as it stands."""
    return json_answer(await read_object(core.reads, principal.scope, "refund", refund_id))


@router.get("/refunds", responses=schemas.listing(schemas.Refund))
async def list_refunds(
    principal: Caller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    charge: OfCharge = None,
    status: Status = None,
) -> Response:
    """Return refunds, newest first."""
    filters = {"charge": charge, "status": status}
    documents, more = await list_objects(
        core.reads, principal.scope, "refund", limit=limit, starting_after=starting_after, filters=filters
    )
    return list_answer(documents, more)
