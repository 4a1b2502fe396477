"""A chargeback: the cardholder's bank took money back, and the books follow at once.

Evidence and outcome (won, lost) are not handled here yet; the dispute stays `needs_response`.
"""

from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.dispute import Dispute
    from domain.facts import ChargebackReceived
    from workflows import effects, search_attributes
    from workflows.postings import dispute_posting


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDispute:
    """What starts a dispute: a rail's signed notice, matched to a charge."""

    dispute: Dispute


@workflow.defn(name="DisputeWorkflow")
class DisputeWorkflow:
    """One run per rail reference, so that a notice delivered twice posts once."""

    @workflow.run
    async def run(self, start: StartDispute) -> dict[str, Any]:
        """Debit the merchant, past any limit, and return the dispute as the API shows it."""
        dispute = replace(start.dispute, version=1)
        fact = ChargebackReceived(
            dispute_id=dispute.id,
            account=dispute.account,
            rail=dispute.rail,
            amount_minor=dispute.amount_minor,
            fee_minor=dispute.fee_minor,
            currency=dispute.currency,
        )
        result = await effects.post(dispute_posting(dispute, event="dispute.created", facts=(fact,)))
        assert result.refusal is None, result.refusal
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(dispute.status.value)])
        return result.documents[dispute.id]
