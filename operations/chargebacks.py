"""From a rail's notice of a chargeback to the workflow of its dispute, which exists once."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.client import Client

from domain.dispute import Dispute, dispute_document
from domain.identifiers import Mode, encode_base32, workflow_id
from domain.inbound import InboundKind, InboundNotice
from domain.money import format_amount
from operations.starting_once import start_once
from workflows.dispute import DisputeWorkflow, StartDispute

_FEES: dict[str, int] = json.loads((Path(__file__).parent / "dispute_fees.json").read_text())["fees"]


async def start_dispute(
    temporal: Client, notice: InboundNotice, *, merchant_id: str, mode: Mode, charge: Mapping[str, Any]
) -> str:
    """Start the dispute of a chargeback and return its id; a repeated notice finds it started. Idempotent.

    Raises:
        RPCError: Temporal is away. Retryable.
    """
    dispute = disputed(notice, merchant_id=merchant_id, mode=mode, charge=charge)
    amount = format_amount(dispute.amount_minor, dispute.currency)
    await start_once(
        temporal,
        DisputeWorkflow.run,
        StartDispute(dispute=dispute),
        run_id=dispute.workflow_id,
        merchant_id=dispute.merchant_id,
        shown=dispute_document(dispute),
        summary=f"{amount} of {dispute.charge}, {dispute.rail} {dispute.rail_reference}",
    )
    return dispute.id


def disputed(notice: InboundNotice, *, merchant_id: str, mode: Mode, charge: Mapping[str, Any]) -> Dispute:
    """Return the dispute of a notice; its id derives from the rail's reference, so it exists once."""
    assert notice.kind is InboundKind.CHARGEBACK
    assert notice.reference is not None and notice.amount_minor is not None and notice.currency is not None
    reference = f"dispute:{notice.rail}:{notice.reference}"
    digest = hashlib.sha256(f"{merchant_id}/{mode}/{reference}".encode()).digest()
    return Dispute(
        id=f"dp_{encode_base32(int.from_bytes(digest[:16], 'big'), 26)}",
        merchant_id=merchant_id,
        mode=mode,
        charge=charge["id"],
        rail=notice.rail,
        rail_reference=notice.reference,
        amount_minor=notice.amount_minor,
        fee_minor=_FEES.get(notice.currency, _FEES["*"]),
        currency=notice.currency,
        account=charge["account"],
        workflow_id=workflow_id(merchant_id, mode, reference),
        created_at=datetime.now(UTC),
        reason=notice.reason,
    )
