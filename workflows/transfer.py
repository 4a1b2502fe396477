"""A transfer between two ledger accounts, settled or refused in one posting; across currencies at a quote."""

from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import AccountFunded, CurrencyExchanged, Fact, TransferMade
    from domain.fx import quote_used, refuse_quote
    from domain.ledger import KeyClaim, PostingResult, Refusal, RefusalCode
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
        refusal = refuse_quote(settled.fx_quote, workflow.now()) if settled.fx_quote else None
        if refusal is None:
            result = await effects.post(
                transfer_posting(
                    settled, event="transfer.settled", facts=(_fact(settled),), claim=start.claim, actor=start.actor
                )
            )
            refusal = _refusal(settled, result)
        if refusal is not None and refusal.code not in _NOT_ABOUT_THE_MOVE:
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
            refusal = result.refusal
        if refusal is not None and refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            return {"object": "superseded", "key_taken_by": refusal.object_id}
        document = result.documents[settled.id]
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(str(document["status"]))])
        return document


_NOT_ABOUT_THE_MOVE = (RefusalCode.IDEMPOTENCY_KEY_TAKEN, RefusalCode.EXISTS_WITH_DIFFERENT_FACTS)
"""The key is another object's, or an earlier run of this transfer has committed its outcome."""


def _refusal(settled: Transfer, result: PostingResult) -> Refusal | None:
    """Return why the money did not move, telling a used quote from an outcome committed before.

    Both are other facts under a known key. If the key is this transfer's own, what is stored of the
    transfer comes along; if it is the quote's, there is no such transfer yet.
    """
    refusal, quote = result.refusal, settled.fx_quote
    if refusal is None or quote is None or settled.id in result.documents:
        return refusal
    return quote_used(quote.id) if refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS else refusal


def _fact(transfer: Transfer) -> Fact:
    if transfer.funding:
        return AccountFunded(
            transfer_id=transfer.id,
            account=transfer.destination,
            amount_minor=transfer.amount_minor,
            currency=transfer.currency,
        )
    if transfer.fx_quote is not None:
        return CurrencyExchanged(
            transfer_id=transfer.id,
            quote_id=transfer.fx_quote.id,
            source=transfer.source,
            destination=transfer.destination,
            sell_amount_minor=transfer.fx_quote.sell_amount_minor,
            sell_currency=transfer.fx_quote.sell_currency,
            buy_amount_minor=transfer.fx_quote.buy_amount_minor,
            buy_currency=transfer.fx_quote.buy_currency,
            effective_at=transfer.effective_at,
        )
    return TransferMade(
        transfer_id=transfer.id,
        source=transfer.source,
        destination=transfer.destination,
        amount_minor=transfer.amount_minor,
        currency=transfer.currency,
        effective_at=transfer.effective_at,
    )
