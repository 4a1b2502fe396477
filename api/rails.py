"""The rails one can be routed to, and what rails tell us on their own: signed callbacks."""

import hashlib
import hmac
import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from api import schemas
from api.authentication import Caller
from api.bodies import Amount, Currency, RailName, parse_json, validate
from api.context import Core, CoreOf
from api.errors import Problem
from api.orphans import receive_outcome
from api.reading import EVERYTHING, Row, Statement
from api.rendering import json_answer, list_answer
from api.starting import attributes
from domain.dispute import Dispute, dispute_document
from domain.identifiers import Mode, encode_base32, workflow_id
from domain.money import format_amount
from workflows.dispute import DisputeWorkflow, StartDispute
from workflows.policies import PAYMENTS_QUEUE

router = APIRouter(prefix="/v1", tags=["rails"])
_log = logging.getLogger(__name__)

SIGNATURE_TOLERANCE_SECONDS = 300
_FEES: dict[str, int] = json.loads((Path(__file__).parent / "dispute_fees.json").read_text())["fees"]
_FIND_ATTEMPT = (
    "SELECT c.merchant_id, c.mode, c.document FROM attempts a"
    " JOIN charges c ON c.id = split_part(a.operation_id, '.', 1)"
    " WHERE a.id = %(rail_key)s AND a.rail = %(rail)s"
)


class DisputeCallback(BaseModel):
    """A cardholder's bank took money back. `rail_key` is the order it is about."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    type: Literal["dispute.created"]
    rail_key: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    reference: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    amount: Amount
    currency: Currency
    rail: RailName
    reason: Annotated[str, Field(max_length=500)] | None = None


@router.get("/rails", responses=schemas.reading())
async def list_rails(principal: Caller, core: CoreOf) -> Response:
    """Return the rails, what each can do and what is known of its price and speed."""
    return list_answer([{"object": "rail", **profile} for profile in core.services.rails.profiles()], False)


@router.post("/rails/{rail}/callbacks", include_in_schema=False)
async def receive_callback(rail: str, request: Request, core: CoreOf) -> Response:
    """Take a rail's signed notice. 2xx once it is safe with us, also when it had come before."""
    raw = await request.body()
    check_signature(core.services.callback_secret, request.headers.get("rail-signature", ""), raw, time.time())
    told = parse_json(raw)
    if not isinstance(told, dict):
        raise Problem(422, "body_must_be_object", "The request body is a JSON object.")
    # One address may serve several rails: what is signed goes before what is in the path.
    told = {"rail": rail, **told}
    if told.get("type") == "order.outcome":
        return await receive_outcome(core, told)
    notice = validate(DisputeCallback, told)
    parameters = {"rail_key": notice.rail_key, "rail": notice.rail}
    row = await core.reads.first(EVERYTHING, Statement(_FIND_ATTEMPT, parameters))
    if row is None:
        raise Problem(404, "rail_key_not_found", "No order of ours has this rail key.", param="rail_key")
    dispute = disputed(row, notice)
    started = await _start_dispute(core, dispute)
    return json_answer({"received": True, "dispute": dispute.id, "duplicate": not started})


def check_signature(secret: bytes, header: str, body: bytes, now: float) -> None:
    """Let a body pass that was signed with the shared secret in the last five minutes.

    The header is `t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`; a few `v1` may be given.

    Raises:
        Problem: 401, the signature is missing, wrong or too old. Not retryable.
    """
    parts = [part.strip().partition("=") for part in header.split(",")]
    stamps = [value for name, _, value in parts if name == "t" and value.isdigit() and len(value) < 15]
    signatures = [value for name, _, value in parts if name == "v1"]
    if stamps and abs(now - int(stamps[0])) <= SIGNATURE_TOLERANCE_SECONDS:
        expected = hmac.new(secret, stamps[0].encode() + b"." + body, hashlib.sha256).hexdigest()
        if any(hmac.compare_digest(expected.encode(), given.encode()) for given in signatures):
            return
    raise Problem(401, "signature_invalid", "The `Rail-Signature` is missing, wrong or too old.")


def disputed(row: Row, notice: DisputeCallback) -> Dispute:
    """Return the dispute of a notice; its id derives from the rail's reference, so it exists once."""
    charge = row["document"]
    merchant_id, mode = row["merchant_id"], Mode(row["mode"])
    reference = f"dispute:{notice.rail}:{notice.reference}"
    digest = hashlib.sha256(f"{merchant_id}/{mode}/{reference}".encode()).digest()
    return Dispute(
        id=f"dp_{encode_base32(int.from_bytes(digest[:16], 'big'), 26)}",
        merchant_id=merchant_id,
        mode=mode,
        charge=charge["id"],
        rail=notice.rail,
        rail_reference=notice.reference,
        amount_minor=notice.amount,
        fee_minor=_FEES.get(notice.currency, _FEES["*"]),
        currency=notice.currency,
        account=charge["account"],
        workflow_id=workflow_id(merchant_id, mode, reference),
        created_at=datetime.now(UTC),
        reason=notice.reason,
    )


async def _start_dispute(core: Core, dispute: Dispute) -> bool:
    """Start the dispute's workflow; False if it had been started before."""
    amount = format_amount(dispute.amount_minor, dispute.currency)
    try:
        await core.services.temporal.start_workflow(
            DisputeWorkflow.run,
            StartDispute(dispute=dispute),
            id=dispute.workflow_id,
            task_queue=PAYMENTS_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=attributes(dispute.merchant_id, dispute_document(dispute)),
            static_summary=f"{amount} of {dispute.charge}, {dispute.rail} {dispute.rail_reference}",
        )
    except WorkflowAlreadyStartedError:
        return False
    _log.info("dispute %s of %s received from %s", dispute.id, dispute.charge, dispute.rail)
    return True
