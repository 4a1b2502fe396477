"""Notices of disputes: matched to a charge or to the dispute itself, handed to its workflow."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from temporalio.service import RPCError, RPCStatusCode

from api.bodies import Amount, Currency, Instant, RailName, parse_instant
from api.context import Core
from api.errors import Problem
from api.reading import EVERYTHING, Row, Statement
from api.rendering import Document
from api.starting_once import start_once
from domain.dispute import Dispute, DisputeKind, dispute_document, evidence_due_by, first_status
from domain.identifiers import Mode, encode_base32, workflow_id
from domain.money import format_amount
from domain.notice import NoticeKind, RailNotice
from workflows.dispute import DisputeWorkflow
from workflows.dispute_messages import DisputeNews, DisputeTold, StartDispute
from workflows.rail_notice import RailNoticeWorkflow, StartRailNotice

_FEES: dict[str, int] = json.loads((Path(__file__).parent / "dispute_fees.json").read_text())["fees"]
_FIND_CHARGE = (
    "SELECT c.merchant_id, c.mode, c.document,"
    " (SELECT t.document ->> 'brand' FROM vault_tokens t WHERE t.id = c.source) AS brand,"
    " (SELECT p.document FROM policies p WHERE p.merchant_id = c.merchant_id AND p.mode = c.mode"
    " AND p.kind = 'pricing') AS pricing"
    " FROM attempts a JOIN charges c ON c.id = split_part(a.operation_id, '.', 1)"
    " WHERE a.id = %(rail_key)s AND a.rail = %(rail)s"
)
_FIND_DISPUTE = "SELECT d.document FROM disputes d WHERE d.id = %(id)s"


class DisputeCallback(BaseModel):
    """A word about a dispute. `rail_key` is the order it is about, `reference` the dispute at the rail.

    `kind` of a new one: `inquiry` asks, `chargeback` has taken `amount`. An escalated inquiry has taken it now.
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    type: Literal["dispute.created", "dispute.escalated", "dispute.closed", "dispute.won", "dispute.lost"]
    rail_key: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    reference: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    amount: Amount
    currency: Currency
    rail: RailName
    kind: Literal["inquiry", "chargeback"] = "chargeback"
    reason: Annotated[str, Field(max_length=500)] | None = None
    evidence_due_by: Instant | None = None


async def take_dispute_notice(core: Core, notice: DisputeCallback) -> Document:
    """Start the dispute's workflow, once for each of the rail's references, or tell it what came next.

    Raises:
        Problem: 404, no order or dispute of ours has this name (yet). Retryable: notices may overtake one another.
    """
    parameters = {"rail_key": notice.rail_key, "rail": notice.rail}
    row = await core.reads.first(EVERYTHING, Statement(_FIND_CHARGE, parameters))
    if row is None:
        raise Problem(404, "rail_key_not_found", "No order of ours has this rail key.", param="rail_key")
    dispute = disputed(row, notice)
    if notice.type != "dispute.created":
        return await _tell(core, dispute, notice, DisputeNews(notice.type.partition(".")[2]))
    amount = format_amount(dispute.amount_minor, dispute.currency)
    started = await start_once(
        core,
        DisputeWorkflow.run,
        StartDispute(dispute=dispute),
        run_id=dispute.workflow_id,
        merchant_id=dispute.merchant_id,
        shown=dispute_document(dispute),
        summary=f"{amount} of {dispute.charge}, {dispute.rail} {dispute.rail_reference}",
    )
    if not started and dispute.kind is DisputeKind.CHARGEBACK:
        # The same reference again: a repetition, or the chargeback that an inquiry has become.
        await _tell(core, dispute, notice, DisputeNews.ESCALATED)
    return {"received": True, "dispute": dispute.id, "duplicate": not started}


async def _tell(core: Core, dispute: Dispute, notice: DisputeCallback, news: DisputeNews) -> Document:
    if await core.reads.first(EVERYTHING, Statement(_FIND_DISPUTE, {"id": dispute.id})) is None:
        raise Problem(404, "dispute_not_found", "No dispute of ours has this reference.", param="reference")
    told = DisputeTold(news=news, amount_minor=notice.amount, currency=notice.currency, reason=notice.reason)
    handle = core.services.temporal.get_workflow_handle(dispute.workflow_id)
    duplicate = False
    try:
        await handle.signal(DisputeWorkflow.told, told)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        duplicate = not await _tell_late(core, dispute, notice, news)
    return {"received": True, "dispute": dispute.id, "duplicate": duplicate}


async def _tell_late(core: Core, dispute: Dispute, notice: DisputeCallback, news: DisputeNews) -> bool:
    """Hand the notice to a run of its own: the dispute's has ended."""
    kind = NoticeKind(f"dispute.{news}")
    late = RailNotice(
        kind=kind,
        object_id=dispute.id,
        merchant_id=dispute.merchant_id,
        mode=dispute.mode,
        rail=notice.rail,
        rail_key=notice.rail_key,
        reference=notice.reference,
        amount_minor=notice.amount,
        currency=notice.currency,
        reason=notice.reason,
    )
    shown: Document = {"object": "notice", "status": kind.value, "currency": notice.currency, "amount": notice.amount}
    return await start_once(
        core,
        RailNoticeWorkflow.run,
        StartRailNotice(notice=late),
        run_id=workflow_id(dispute.merchant_id, dispute.mode, f"notice:{notice.rail}:{kind}:{notice.reference}"),
        merchant_id=dispute.merchant_id,
        shown=shown,
        summary=f"{kind} of {dispute.id} after its end, {notice.rail} {notice.reference}",
    )


def disputed(row: Row, notice: DisputeCallback) -> Dispute:
    """Return the dispute of a notice; its id derives from the rail's reference, so it exists once."""
    charge = row["document"]
    merchant_id, mode, kind = row["merchant_id"], Mode(row["mode"]), DisputeKind(notice.kind)
    reference = f"dispute:{notice.rail}:{notice.reference}"
    digest = hashlib.sha256(f"{merchant_id}/{mode}/{reference}".encode()).digest()
    now, pricing = datetime.now(UTC), row["pricing"] or {}
    stated = parse_instant(notice.evidence_due_by) if notice.evidence_due_by else None
    number = next((one["number"] for one in charge["attempts"] if one["outcome"] == "approved"), 1)
    return Dispute(
        id=f"dp_{encode_base32(int.from_bytes(digest[:16], 'big'), 26)}",
        merchant_id=merchant_id,
        mode=mode,
        charge=charge["id"],
        rail=notice.rail,
        rail_reference=notice.reference,
        amount_minor=notice.amount,
        fee_minor=_fee(pricing, notice.currency),
        currency=notice.currency,
        account=charge["account"],
        workflow_id=workflow_id(merchant_id, mode, reference),
        created_at=now,
        reason=notice.reason,
        kind=kind,
        status=first_status(kind),
        original_rail_key=f"{charge['id']}:{number}",
        scheme=row["brand"],
        fee_returned_when_won=pricing.get("dispute_fee_when_won") == "returned",
        evidence_due_by=stated or evidence_due_by(row["brand"], kind, now),
    )


def _fee(pricing: dict[str, Any], currency: str) -> int:
    """Return what a chargeback costs this merchant: its own plan's figure, else the list's."""
    own: dict[str, int] = pricing.get("dispute_fees") or {}
    return own.get(currency, own.get("*", _FEES.get(currency, _FEES["*"])))
