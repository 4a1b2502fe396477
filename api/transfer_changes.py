"""What is done to a transfer after it was made: post or void what is pending, reverse what is settled."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import schemas
from api.authentication import MerchantCaller
from api.bodies import Amount, FreeText, WriteRequest
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import KeyedRequest, key_statement, read_write
from api.objects import first_document, is_identifier, one_statement
from api.rendering import Document, operation_answer, ordered
from api.transfers import start_transfer
from api.updating import ObjectUpdate, UpdateMethod, update_object
from domain.identifiers import new_identifier
from domain.transfer import Transfer
from workflows.transfer import TransferWorkflow
from workflows.transfer_messages import PostTransfer, VoidTransfer

router = APIRouter(prefix="/v1", tags=["transfers"])


class PostRequest(WriteRequest):
    """A post of a pending transfer; everything that is left without `amount`. `final` releases the rest."""

    amount: Amount | None = None
    final: bool = True


class VoidTransferRequest(WriteRequest):
    """A void has no terms."""


class ReverseRequest(WriteRequest):
    """A reversal is of everything that moved."""

    reason: FreeText | None = None


@router.post(
    "/transfers/{transfer_id}/post", responses=schemas.change(schemas.Transfer), openapi_extra=schemas.body(PostRequest)
)
async def post_transfer(transfer_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Move the money of a pending transfer, or a part of it."""
    asked, wanted = await read_write(request, merchant, PostRequest)
    argument = PostTransfer(
        amount_minor=wanted.amount, final=wanted.final, claim=asked.claim("transfer", transfer_id), actor=merchant.actor
    )
    return await _update(core, transfer_id, "post", TransferWorkflow.post, argument, asked)


@router.post(
    "/transfers/{transfer_id}/void",
    responses=schemas.change(schemas.Transfer),
    openapi_extra=schemas.body(VoidTransferRequest),
)
async def void_transfer(transfer_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Give back what is still set aside for a pending transfer."""
    asked, _ = await read_write(request, merchant, VoidTransferRequest)
    argument = VoidTransfer(claim=asked.claim("transfer", transfer_id), actor=merchant.actor)
    return await _update(core, transfer_id, "void", TransferWorkflow.void, argument, asked)


async def _update(
    core: Core, transfer_id: str, verb: str, method: UpdateMethod, argument: Any, asked: KeyedRequest
) -> Response:
    update = ObjectUpdate(
        kind="transfer",
        object_id=transfer_id,
        verb=verb,
        method=method,
        argument=argument,
        asked=asked,
        claims_outcome=True,
    )
    return await update_object(core, update)


@router.post(
    "/transfers/{transfer_id}/reverse",
    responses=schemas.operation(schemas.Transfer),
    openapi_extra=schemas.body(ReverseRequest),
)
async def reverse_transfer(transfer_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Move what a settled transfer moved back again: a new transfer, at most one for each."""
    asked, wanted = await read_write(request, merchant, ReverseRequest)
    if not is_identifier(transfer_id):
        raise not_found("transfer")
    keys, rows = await core.reads.rows(merchant.scope, key_statement(asked), one_statement("transfer", transfer_id))
    original = first_document("transfer", rows)
    if not keys:
        _check_reversible(original)
    reversal = Transfer(
        id=new_identifier("tr"),
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        amount_minor=original.get("amount_posted") or original["amount"],
        currency=original["currency"],
        source=original["destination"],
        destination=original["source"],
        workflow_id=asked.workflow_id,
        created_at=datetime.now(UTC),
        reverses=transfer_id,
        reason=wanted.reason,
    )
    landing = await start_transfer(core, asked, reversal)
    return operation_answer(landing.document, replayed=landing.replayed)


def _check_reversible(original: Document) -> None:
    """Let a transfer pass that moved money between two of the merchant's accounts and was not reversed.

    Whether it really is the first reversal the ledger decides: of two at once one is refused there.

    Raises:
        Problem: 409, there is nothing to reverse, or no more. Not retryable.
    """
    members: Document = {"transfer": ordered(original)}
    status = original["status"]
    if original.get("reversed_by") is not None:
        detail = f"{original['reversed_by']} reversed this transfer before."
        raise Problem(409, "transfer_already_reversed", detail, members=members)
    if status == "pending":
        raise Problem(409, "use_void", "A pending transfer is voided, or posted and then reversed.", members=members)
    if status != "settled":
        raise Problem(409, "transfer_not_settled", f"The transfer is {status}: no money moved.", members=members)
    of_its_own_kind = {
        "A reversal": original.get("reverses") is not None,
        "Sandbox funding": not original["source"].startswith("acct_"),
        "An exchange at a quote": original.get("fx_quote") is not None,
    }
    if what := next((name for name, holds in of_its_own_kind.items() if holds), None):
        raise Problem(409, "transfer_not_reversible", f"{what} is not reversed; make a transfer.", members=members)
