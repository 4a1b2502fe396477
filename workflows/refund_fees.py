"""The fee that goes back with a refund: always the share of what is refunded in all, whatever the split.

Each refund that succeeds, and each that comes back later, brings what was returned so far to where it
has to be. Two at the same moment compute the same step; one of them posts it, the other looks again.
"""

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import RefundFeeReturned
    from domain.identifiers import Mode
    from domain.ledger import Record, RecordKind, RefusalCode
    from domain.pricing import RefundFee, fee_to_return_minor
    from workflows import effects
    from workflows.ports import FeeStanding, ReadFeeStanding
    from workflows.postings import stored_posting

Document = dict[str, Any]


async def settle_refund_fee(document: Document, *, merchant_id: str, mode: Mode, actor: str) -> Document:
    """Return the refund after its share of the fee was given back, or taken again. Idempotent.

    `document` is the refund as committed; nothing is read or written where the charge's plan returns no fee.
    """
    if document.get("fee_policy", RefundFee.NONE) == RefundFee.NONE:
        return document
    while True:
        standing = await effects.read_fee_standing(
            ReadFeeStanding(refund_id=document["id"], charge_id=document["charge"])
        )
        document = standing.refund.document
        difference = _difference(standing)
        if difference == 0:
            return document
        settled = {
            **document,
            "fee_returned": document.get("fee_returned", 0) + difference,
            "fee_return_sequence": standing.sequence + 1,
        }
        fact = RefundFeeReturned(
            refund_id=document["id"],
            charge_id=document["charge"],
            account=document["account"],
            sequence=standing.sequence + 1,
            difference_minor=difference,
            currency=document["currency"],
        )
        record = Record(
            kind=RecordKind.REFUND, id=document["id"], version=standing.refund.version + 1, document=settled
        )
        result = await effects.post(
            stored_posting(
                record,
                merchant_id=merchant_id,
                mode=mode,
                actor=actor,
                event="refund.fee_returned",
                facts=(fact,),
                details={"difference": difference},
            )
        )
        if result.refusal is None:
            return settled
        if result.refusal.code is RefusalCode.ACCOUNT_CLOSED:
            return document  # Nobody is left to give it to; the fee stays where it is.
        assert result.refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, result.refusal


def _difference(standing: FeeStanding) -> int:
    due = fee_to_return_minor(standing.policy, standing.fee_minor, standing.refunded_minor, standing.captured_minor)
    return due - standing.returned_minor
