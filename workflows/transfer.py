"""A transfer between two ledger accounts: one posting, settled or refused with its commit."""

from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import AccountFunded, Fact, TransferMade
    from domain.ledger import KeyClaim, RefusalCode
    from domain.transfer import Transfer, TransferStatus
    from workflows import effects, search_attributes
    from workflows.postings import transfer_posting


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTransfer:
    """What starts a transfer."""

    transfer: Transfer
    claim: KeyClaim
    actor: str = "api"


@workflow.defn(name="TransferWorkflow")
class TransferWorkflow:
    """One run per idempotency key; one local activity when the ledger says yes, two when it refuses."""

    @workflow.run
    async def run(self, start: StartTransfer) -> dict[str, Any]:
        """Move the money or remember the refusal; return the transfer as the API shows it."""
        settled = replace(start.transfer, status=TransferStatus.SETTLED, version=1)
        result = await effects.post(
            transfer_posting(
                settled, event="transfer.settled", facts=(_fact(settled),), claim=start.claim, actor=start.actor
            )
        )
        refusal = result.refusal
        if refusal is not None and refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            return {"object": "superseded", "key_taken_by": refusal.object_id}
        if refusal is not None and refusal.code is not RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
            # A refusal is remembered: a retry with the same key must not turn it into a success.
            failed = replace(
                settled,
                status=TransferStatus.FAILED,
                failure_code=refusal.code.value,
                failure_detail=refusal.detail,
            )
            result = await effects.post(
                transfer_posting(failed, event="transfer.failed", facts=(), claim=start.claim, actor=start.actor)
            )
        document = result.documents[settled.id]
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(str(document["status"]))])
        return document


def _fact(transfer: Transfer) -> Fact:
    if transfer.funding:
        return AccountFunded(
            transfer_id=transfer.id,
            account=transfer.destination,
            amount_minor=transfer.amount_minor,
            currency=transfer.currency,
        )
    return TransferMade(
        transfer_id=transfer.id,
        source=transfer.source,
        destination=transfer.destination,
        amount_minor=transfer.amount_minor,
        currency=transfer.currency,
        effective_at=transfer.effective_at,
    )
