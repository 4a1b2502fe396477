"""What rails tell us on their own: signed notices, each handed to a workflow before it is acknowledged."""

import hashlib
import hmac
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.bodies import Amount, Currency, RailName, parse_json, validate
from api.context import Core, CoreOf
from api.dispute_notices import DisputeCallback, take_dispute_notice
from api.errors import Problem
from api.reading import EVERYTHING, Row, Statement
from api.rendering import Document, json_answer
from api.starting_once import start_once
from domain.identifiers import Mode, workflow_id
from domain.money import format_amount
from domain.notice import NoticeKind, RailNotice
from workflows.rail_notice import RailNoticeWorkflow, StartRailNotice

router = APIRouter(prefix="/v1", tags=["rails"])

SIGNATURE_TOLERANCE_SECONDS = 300
_FIND_ATTEMPT = (
    "SELECT a.merchant_id, a.mode, split_part(a.operation_id, '.', 1) AS object_id FROM attempts a"
    " WHERE a.id = %(rail_key)s AND a.rail = %(rail)s"
)
_PREFIXES = {"refund": "re_", "payout": "po_"}


class MoneyCallback(BaseModel):
    """Money the rail had answered for came back. `rail_key` is the order it is about."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    type: Literal["refund.failed", "payout.paid", "payout.failed", "payout.returned"]
    rail_key: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    reference: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    amount: Amount
    currency: Currency
    rail: RailName
    reason: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}$")] | None = None


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
    if str(told.get("type", "")).startswith("dispute."):
        return json_answer(await take_dispute_notice(core, validate(DisputeCallback, told)))
    return json_answer(await _take_money_notice(core, validate(MoneyCallback, told)))


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


async def _take_money_notice(core: Core, told: MoneyCallback) -> Document:
    """Start the notice's workflow, once for each rail, kind and reference.

    Raises:
        Problem: 404, no order of ours has this rail key. Not retryable.
    """
    row = await _attempt(core, told)
    notice = RailNotice(
        kind=NoticeKind(told.type),
        object_id=row["object_id"],
        merchant_id=row["merchant_id"],
        mode=Mode(row["mode"]),
        rail=told.rail,
        rail_key=told.rail_key,
        reference=told.reference,
        amount_minor=told.amount,
        currency=told.currency,
        reason=told.reason,
    )
    started = await start_once(
        core,
        RailNoticeWorkflow.run,
        StartRailNotice(notice=notice),
        run_id=workflow_id(notice.merchant_id, notice.mode, f"notice:{told.rail}:{told.type}:{told.reference}"),
        merchant_id=notice.merchant_id,
        shown={"object": "notice", "status": told.type, "currency": told.currency, "amount": told.amount},
        summary=f"{told.type}: {format_amount(told.amount, told.currency)} of {notice.object_id}, {told.rail}",
    )
    return {"received": True, "object": notice.object_id, "duplicate": not started}


async def _attempt(core: Core, told: MoneyCallback) -> Row:
    parameters = {"rail_key": told.rail_key, "rail": told.rail}
    row = await core.reads.first(EVERYTHING, Statement(_FIND_ATTEMPT, parameters))
    if row is None or not row["object_id"].startswith(_PREFIXES[told.type.partition(".")[0]]):
        raise Problem(404, "rail_key_not_found", "No order of ours has this rail key.", param="rail_key")
    return row
