"""Notices of disputes: matched to a charge, handed to the dispute's workflow."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.bodies import Amount, Currency, RailName
from api.context import Core
from api.errors import Problem
from api.reading import EVERYTHING, Row, Statement
from api.rendering import Document
from api.starting_once import start_once
from domain.dispute import Dispute, dispute_document
from domain.identifiers import Mode, encode_base32, workflow_id
from domain.money import format_amount
from workflows.dispute import DisputeWorkflow, StartDispute

_FEES: dict[str, int] = json.loads((Path(__file__).parent / "dispute_fees.json").read_text())["fees"]
_FIND_CHARGE = (
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


async def take_dispute_notice(core: Core, notice: DisputeCallback) -> Document:
    """Start the dispute's workflow; once for each of the rail's references.

    Raises:
        Problem: 404, no order of ours has this rail key. Not retryable.
    """
    parameters = {"rail_key": notice.rail_key, "rail": notice.rail}
    row = await core.reads.first(EVERYTHING, Statement(_FIND_CHARGE, parameters))
    if row is None:
        raise Problem(404, "rail_key_not_found", "No order of ours has this rail key.", param="rail_key")
    dispute = disputed(row, notice)
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
    return {"received": True, "dispute": dispute.id, "duplicate": not started}


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
