"""Refunds: create, read. What may be refunded is decided with the commit, by the ledger."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api import schemas
from api.administration import MerchantId
from api.authentication import Caller, Merchant, MerchantCaller, Principal, require_merchant
from api.bodies import Amount, Currency, FreeText, Metadata, WriteRequest, read_body, validate
from api.context import Core, CoreOf
from api.errors import Problem
from api.idempotency import KeyedRequest, check_same_request, claimed_key, key_statement, read_write
from api.objects import After, Limit, OfCharge, Status, first_document, list_objects, one_statement, read_object
from api.policies import policy_statement, read_policy, write_policy
from api.reading import Statement
from api.rendering import Document, json_answer, list_answer, operation_answer, ordered
from api.starting import Start
from api.updating import ObjectUpdate, update_object
from domain.identifiers import Mode, new_identifier, rail_key
from domain.money import AMOUNT_MINOR_MAX, format_amount
from domain.refund import Refund, refund_document
from domain.refund_policy import (
    WAIT_SECONDS_MAX,
    OnLowBalance,
    RefundPolicy,
    refund_policy_document,
    refund_policy_of,
)
from workflows.refund import RefundWorkflow
from workflows.refund_messages import CancelRefund, StartRefund

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


class RefundPolicyBody(BaseModel):
    """What to change; what is left out stays. `negative_limits`: minor units by currency, how far below zero."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    merchant: MerchantId | None = None
    mode: Literal["test", "live"] = "test"
    on_low_balance: Literal["wait", "negative", "refuse"] | None = None
    wait_seconds_max: Annotated[int, Field(ge=1, le=WAIT_SECONDS_MAX)] | None = None
    negative_limits: dict[Currency, Annotated[int, Field(ge=0, le=AMOUNT_MINOR_MAX)]] | None = None


async def _policy_owner(principal: Principal, wanted: RefundPolicyBody) -> Merchant:
    """Return whose policy is changed: the calling merchant's, or the one an administrator names.

    Raises:
        Problem: 422, an administrator names none. Not retryable.
    """
    if not principal.admin:
        return await require_merchant(principal)
    if wanted.merchant is None:
        raise Problem(422, "merchant_required", "An admin key says whose policy it changes.", param="merchant")
    return Merchant(merchant_id=wanted.merchant, mode=Mode(wanted.mode), actor=f"api_key:{principal.key_id}")


class RefundPolicyShown(schemas.Shown):
    """What a refund does when the balance is too low for it."""

    object: Literal["refund_policy"]
    on_low_balance: Literal["wait", "negative", "refuse"]
    wait_seconds_max: int
    negative_limits: dict[str, int]


class CancelRequest(WriteRequest):
    """A cancellation has no terms."""


@router.post("/refunds", responses=schemas.operation(schemas.Refund), openapi_extra=schemas.body(CreateRefund))
async def create_refund(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Give money of a captured charge back to the card."""
    asked, wanted = await read_write(request, merchant, CreateRefund)
    refund, policy = await _new_refund(core, asked, wanted)
    landing = await core.flights.land(
        Start(
            asked=asked,
            workflow=RefundWorkflow.run,
            argument=StartRefund(
                refund=refund, claim=asked.claim("refund", refund.id), actor=merchant.actor, policy=policy
            ),
            initial=refund_document(refund),
            summary=f"{format_amount(refund.amount_minor, refund.currency)} of {refund.charge}",
        )
    )
    core.metrics.count_operation(landing.document, replayed=landing.replayed)
    return operation_answer(landing.document, replayed=landing.replayed)


async def _new_refund(core: Core, asked: KeyedRequest, wanted: CreateRefund) -> tuple[Refund, RefundPolicy]:
    """Return the refund to start, and the merchant's policy for a balance too low for it.

    Raises:
        Problem: 404 no such charge, 409 it is not captured, 422 the key belongs to another request.
            Not retryable.
    """
    merchant = asked.merchant
    bound = Statement(_BOUND, {"id": wanted.charge})
    keys, charges, bounds, policies = await core.reads.rows(
        merchant.scope,
        key_statement(asked),
        one_statement("charge", wanted.charge),
        bound,
        policy_statement(merchant, "refund"),
    )
    claimed = claimed_key(keys)
    if claimed is not None:
        check_same_request(asked, claimed)
    charge = first_document("charge", charges)
    if charge["amount_captured"] == 0:
        raise _not_captured(charge)
    remaining = charge["amount_captured"] - bounds[0]["bound"]
    number = next(attempt["number"] for attempt in charge["attempts"] if attempt["outcome"] == "approved")
    refund = Refund(
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
    return refund, refund_policy_of(policies[0]["document"] if policies else None)


def _not_captured(charge: Document) -> Problem:
    status = charge["status"]
    over = status in ("declined", "voided", "expired")
    code = "charge_not_captured" if over else "use_void"
    advice = "there is nothing to give back" if over else "void it instead"
    return Problem(409, code, f"The charge is {status}, not captured: {advice}.", members={"charge": ordered(charge)})


@router.get("/refunds/policy", responses=schemas.reading(RefundPolicyShown))
async def get_refund_policy(merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return what a refund does when the balance is too low for it."""
    stored, _ = await read_policy(core, merchant, "refund")
    return json_answer({"object": "refund_policy", **refund_policy_document(refund_policy_of(stored))})


@router.put(
    "/refunds/policy", responses=schemas.writing(RefundPolicyShown), openapi_extra=schemas.body(RefundPolicyBody)
)
async def put_refund_policy(request: Request, principal: Caller, core: CoreOf) -> Response:
    """Change the policy; it holds for every refund asked for from now on. An admin key names the merchant."""
    wanted = validate(RefundPolicyBody, await read_body(request))
    merchant = await _policy_owner(principal, wanted)
    stored, _ = await read_policy(core, merchant, "refund")
    changes = wanted.model_dump(exclude_none=True, exclude={"merchant", "mode"})
    document = {**refund_policy_document(refund_policy_of(stored)), **changes}
    if merchant.mode is Mode.LIVE and document["on_low_balance"] == OnLowBalance.NEGATIVE and not principal.admin:
        # Whoever would owe the money must not be the one who grants the credit.
        raise Problem(403, "admin_key_required", "In live mode an administrator grants a negative balance.")
    return json_answer(await write_policy(core, merchant, "refund", document))


@router.post(
    "/refunds/{refund_id}/cancel", responses=schemas.change(schemas.Refund), openapi_extra=schemas.body(CancelRequest)
)
async def cancel_refund(refund_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Give up a refund that waits for funds; 409 once its money was set aside."""
    asked, _ = await read_write(request, merchant, CancelRequest)
    update = ObjectUpdate(
        kind="refund",
        object_id=refund_id,
        verb="cancel",
        method=RefundWorkflow.cancel,
        argument=CancelRefund(claim=asked.claim("refund", refund_id), actor=merchant.actor),
        asked=asked,
        claims_outcome=True,
    )
    return await update_object(core, update)


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
