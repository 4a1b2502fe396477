"""From a rail's notice of a chargeback to the workflow of its dispute, which exists once."""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from domain.dispute import Dispute
from domain.identifiers import Mode, encode_base32, workflow_id
from domain.money import format_amount
from domain.notices import NoticeKind, RailNotice
from workflows import search_attributes
from workflows.dispute import DisputeWorkflow, StartDispute
from workflows.policies import PAYMENTS_QUEUE

_log = logging.getLogger(__name__)
_FEES: dict[str, int] = json.loads((Path(__file__).parent / "dispute_fees.json").read_text())["fees"]


async def start_dispute(
    temporal: Client, notice: RailNotice, *, merchant_id: str, mode: Mode, charge: Mapping[str, Any]
) -> str:
    """Start the dispute of a chargeback and return its id; a repeated notice finds it started. Idempotent.

    Raises:
        RPCError: Temporal is away. Retryable.
    """
    dispute = disputed(notice, merchant_id=merchant_id, mode=mode, charge=charge)
    amount = format_amount(dispute.amount_minor, dispute.currency)
    try:
        await temporal.start_workflow(
            DisputeWorkflow.run,
            StartDispute(dispute=dispute),
            id=dispute.workflow_id,
            task_queue=PAYMENTS_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=_attributes(dispute),
            static_summary=f"{amount} of {dispute.charge}, {dispute.rail} {dispute.rail_reference}",
        )
    except WorkflowAlreadyStartedError:
        return dispute.id
    _log.info("dispute %s of %s received from %s", dispute.id, dispute.charge, dispute.rail)
    return dispute.id


def disputed(notice: RailNotice, *, merchant_id: str, mode: Mode, charge: Mapping[str, Any]) -> Dispute:
    """Return the dispute of a notice; its id derives from the rail's reference, so it exists once."""
    assert notice.kind is NoticeKind.CHARGEBACK
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


def _attributes(dispute: Dispute) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(search_attributes.MERCHANT, dispute.merchant_id),
            SearchAttributePair(search_attributes.KIND, "dispute"),
            SearchAttributePair(search_attributes.STATUS, dispute.status.value),
            SearchAttributePair(search_attributes.CURRENCY, dispute.currency),
            SearchAttributePair(search_attributes.AMOUNT_MINOR, dispute.amount_minor),
        ]
    )
