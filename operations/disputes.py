"""From a rail's word about a dispute to the dispute's workflow, which exists once."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg_pool import AsyncConnectionPool
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.dispute import Dispute, DisputeKind, dispute_document, evidence_due_by, first_status
from domain.identifiers import Mode, encode_base32, workflow_id
from domain.inbound import InboundKind, InboundNotice
from domain.money import format_amount
from operations.starting_once import start_once
from workflows.dispute import DisputeWorkflow
from workflows.dispute_messages import DisputeNews, DisputeTold, StartDispute

_FEES: dict[str, int] = json.loads((Path(__file__).parent / "dispute_fees.json").read_text())["fees"]
OPENINGS = {InboundKind.INQUIRY: DisputeKind.INQUIRY, InboundKind.CHARGEBACK: DisputeKind.CHARGEBACK}
NEWS = {
    InboundKind.DISPUTE_ESCALATED: DisputeNews.ESCALATED,
    InboundKind.DISPUTE_CLOSED: DisputeNews.CLOSED,
    InboundKind.DISPUTE_WON: DisputeNews.WON,
    InboundKind.DISPUTE_LOST: DisputeNews.LOST,
}
_TERMS = """
SELECT (SELECT t.document ->> 'brand' FROM vault_tokens t WHERE t.id = %(source)s),
    (SELECT p.document FROM policies p WHERE p.merchant_id = %(merchant)s AND p.mode = %(mode)s AND p.kind = 'pricing')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeTerms:
    """What a dispute's figures follow from: the card's scheme and the merchant's pricing."""

    scheme: str | None = None
    pricing: Mapping[str, Any] | None = None


async def read_dispute_terms(
    pool: AsyncConnectionPool, *, merchant_id: str, mode: Mode, charge: Mapping[str, Any]
) -> DisputeTerms:
    """Return the terms of a charge's dispute. Reads only."""
    named = {"source": charge["source"], "merchant": merchant_id, "mode": mode.value}
    async with pool.connection() as connection:
        row = await (await connection.execute(_TERMS, named)).fetchone()
    assert row is not None
    return DisputeTerms(scheme=row[0], pricing=row[1])


async def start_dispute(
    temporal: Client,
    notice: InboundNotice,
    terms: DisputeTerms,
    *,
    merchant_id: str,
    mode: Mode,
    charge: Mapping[str, Any],
) -> str:
    """Start the dispute of a notice and return its id; a repeated notice finds it started. Idempotent.

    A chargeback under the reference of an inquiry is what that inquiry has become.

    Raises:
        RPCError: Temporal is away. Retryable.
    """
    dispute = disputed(notice, terms, merchant_id=merchant_id, mode=mode, charge=charge)
    amount = format_amount(dispute.amount_minor, dispute.currency)
    started = await start_once(
        temporal,
        DisputeWorkflow.run,
        StartDispute(dispute=dispute),
        run_id=dispute.workflow_id,
        merchant_id=dispute.merchant_id,
        shown=dispute_document(dispute),
        summary=f"{amount} of {dispute.charge}, {dispute.rail} {dispute.rail_reference}",
    )
    if not started and dispute.kind is DisputeKind.CHARGEBACK:
        await tell_dispute(temporal, notice, DisputeNews.ESCALATED, dispute_run=dispute.workflow_id)
    return dispute.id


async def tell_dispute(temporal: Client, notice: InboundNotice, news: DisputeNews, *, dispute_run: str) -> bool:
    """Tell a dispute's workflow what came next; False if it has ended. Idempotent: told again, it changes nothing.

    Raises:
        RPCError: Temporal is away. Retryable.
    """
    assert notice.amount_minor is not None and notice.currency is not None
    told = DisputeTold(
        news=news,
        amount_minor=notice.amount_minor,
        currency=notice.currency,
        reason=(notice.reason or "")[:500] or None,
    )
    try:
        await temporal.get_workflow_handle(dispute_run).signal(DisputeWorkflow.told, told)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


def dispute_names(notice: InboundNotice, merchant_id: str, mode: Mode) -> tuple[str, str]:
    """Return the id and the workflow id of a notice's dispute; both derive from the rail's reference."""
    reference = f"dispute:{notice.rail}:{notice.reference}"
    digest = hashlib.sha256(f"{merchant_id}/{mode}/{reference}".encode()).digest()
    return f"dp_{encode_base32(int.from_bytes(digest[:16], 'big'), 26)}", workflow_id(merchant_id, mode, reference)


def disputed(
    notice: InboundNotice, terms: DisputeTerms, *, merchant_id: str, mode: Mode, charge: Mapping[str, Any]
) -> Dispute:
    """Return the dispute of a notice; its id derives from the rail's reference, so it exists once."""
    assert notice.reference is not None and notice.amount_minor is not None and notice.currency is not None
    dispute_id, run_id = dispute_names(notice, merchant_id, mode)
    kind, now, pricing = OPENINGS[notice.kind], datetime.now(UTC), terms.pricing or {}
    number = next((one["number"] for one in charge["attempts"] if one["outcome"] == "approved"), 1)
    return Dispute(
        id=dispute_id,
        merchant_id=merchant_id,
        mode=mode,
        charge=charge["id"],
        rail=notice.rail,
        rail_reference=notice.reference,
        amount_minor=notice.amount_minor,
        fee_minor=_fee(pricing, notice.currency),
        currency=notice.currency,
        account=charge["account"],
        workflow_id=run_id,
        created_at=now,
        reason=notice.reason,
        kind=kind,
        status=first_status(kind),
        original_rail_key=f"{charge['id']}:{number}",
        scheme=terms.scheme,
        fee_returned_when_won=pricing.get("dispute_fee_when_won") == "returned",
        evidence_due_by=notice.evidence_due_by or evidence_due_by(terms.scheme, kind, now),
    )


def _fee(pricing: Mapping[str, Any], currency: str) -> int:
    """Return what a chargeback costs this merchant: its own plan's figure, else the list's."""
    own: Mapping[str, int] = pricing.get("dispute_fees") or {}
    return own.get(currency, own.get("*", _FEES.get(currency, _FEES["*"])))
