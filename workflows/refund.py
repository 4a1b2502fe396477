"""A refund: set the money aside, ask the rail of the charge, then post or give it back."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import Fact, RefundFailed, RefundReserved, RefundSucceeded
    from domain.identifiers import rail_key
    from domain.ledger import KeyClaim, PostingResult, Record, RefundGuard, RefusalCode
    from domain.rail import Attempt, Flow, Outcome, RailAnswer, RailRequest, trail_with
    from domain.refund import Refund, RefundStatus, refund_document
    from domain.timestamps import rfc3339
    from workflows import policies, search_attributes
    from workflows.committing import commit_next_version
    from workflows.findings import TakesFindings, commit_claim
    from workflows.inquiry import InquiryProgress
    from workflows.postings import refund_posting, unknown_outcome_exception
    from workflows.rail_notices import HearsRails, RailMailbox
    from workflows.rail_orders import give_order, renumbered
    from workflows.refund_fees import settle_refund_fee

OPEN_STATUSES: frozenset[str] = frozenset({RefundStatus.PROCESSING, RefundStatus.PENDING, RefundStatus.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRefund:
    """What starts a refund."""

    refund: Refund
    claim: KeyClaim
    actor: str = "api"


@workflow.defn(name="RefundWorkflow")
class RefundWorkflow(HearsRails, TakesFindings):
    """One run per idempotency key; the only writer of its refund."""

    @workflow.init
    def __init__(self, start: StartRefund) -> None:
        self._start = start
        self._refund = start.refund
        self._exception: Record | None = None
        self._mailbox = RailMailbox()
        self._committing = asyncio.Lock()

    @workflow.run
    async def run(self, start: StartRefund) -> dict[str, Any]:
        """Tell the story of one refund and return it as the API shows it."""
        attempt = self._first_attempt()
        reserved = await self._reserve(attempt)
        if reserved.refusal is not None:
            return await self._refuse(reserved)
        attempt, answer = await self._insist(attempt, resumed=reserved.duplicate)
        if answer.outcome is Outcome.APPROVED:
            fact: Fact = RefundSucceeded(**self._fact_terms())
            await self._commit(
                replace(self._refund, status=RefundStatus.SUCCEEDED, next_check_at=None),
                event="refund.succeeded",
                facts=(fact,),
                attempts=(attempt,),
            )
            return await self._with_fee()
        else:
            failed = replace(
                self._refund,
                status=RefundStatus.FAILED,
                failure_code=answer.decline_code or "rail_not_available",
                failure_detail=f"{attempt.rail} declined the refund.",
                next_check_at=None,
            )
            fact = RefundFailed(**self._fact_terms())
            await self._commit(failed, event="refund.failed", facts=(fact,), attempts=(attempt,))
        await workflow.wait_condition(workflow.all_handlers_finished)
        return refund_document(self._refund)

    async def _with_fee(self) -> dict[str, Any]:
        """Give back the part of the charge's fee that the merchant's plan returns, and return the refund."""
        refund = self._refund
        return await settle_refund_fee(
            refund_document(refund), merchant_id=refund.merchant_id, mode=refund.mode, actor=self._start.actor
        )

    async def _reserve(self, attempt: Attempt) -> PostingResult:
        """Set the money aside within the charge's refundable amount, and write the attempt ahead."""
        refund = self._refund
        guard = RefundGuard(charge_id=refund.charge, refund_id=refund.id, amount_minor=refund.amount_minor)
        _, result = await commit_next_version(
            lambda version: refund_posting(
                replace(refund, version=version),
                facts=(RefundReserved(**self._fact_terms()),),
                attempts=(attempt,),
                claim=self._start.claim,
                guard=guard,
                actor=self._start.actor,
            ),
            object_id=refund.id,
            version=refund.version,
            open_statuses=frozenset(),
        )
        if result.refusal is None:
            self._refund = replace(refund, version=refund.version + 1)
        return result

    async def _refuse(self, reserved: PostingResult) -> dict[str, Any]:
        """Remember the ledger's refusal, so that a retry cannot turn it into a refund."""
        refusal = reserved.refusal
        assert refusal is not None
        if refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            return {"object": "superseded", "key_taken_by": refusal.object_id}
        if refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
            return reserved.documents[self._refund.id]
        failed = replace(
            self._refund,
            status=RefundStatus.FAILED,
            failure_code=refusal.code.value,
            failure_detail=refusal.detail,
        )
        await self._commit(failed, event="refund.failed", claim=self._start.claim)
        return refund_document(self._refund)

    async def _insist(self, attempt: Attempt, *, resumed: bool) -> tuple[Attempt, RailAnswer]:
        """Carry the order to a definite answer; a new attempt only if the rail never saw the last."""
        for pause in (*policies.NOT_ATTEMPTED_PAUSES, None):
            attempt, answer = await give_order(
                self._order(attempt, resumed),
                attempt,
                report=self._report,
                mailbox=self._mailbox,
                decided_by_person=lambda: self._finding,
            )
            if answer.outcome is not Outcome.NOT_ATTEMPTED or pause is None:
                return attempt, answer
            await workflow.sleep(pause)
            again = renumbered(attempt)
            resumed = await self._commit(self._refund, attempts=(attempt, again))
            attempt = again
        raise AssertionError("the last pause ends the loop")

    def _first_attempt(self) -> Attempt:
        refund = self._refund
        return Attempt(
            rail_key=rail_key(refund.id, 1),
            operation_id=refund.id,
            number=1,
            rail=refund.rail,
            flow=Flow.REFUND,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            reason=f"refund of {refund.charge}",
            requested_at=workflow.now(),
        )

    def _order(self, attempt: Attempt, resumed: bool) -> RailRequest:
        refund = self._refund
        return RailRequest(
            rail=attempt.rail,
            flow=Flow.REFUND,
            rail_key=attempt.rail_key,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            merchant_id=refund.merchant_id,
            mode=refund.mode,
            original_rail_key=refund.original_rail_key,
            deadline_seconds=policies.RAIL_DEADLINE_SECONDS,
            resumed=resumed,
        )

    def _awaits_rail(self) -> bool:
        return self._refund.status in (RefundStatus.PENDING, RefundStatus.UNKNOWN)

    async def _take_claim(self, claim: KeyClaim, actor: str) -> bool:
        async with self._committing:
            version = await commit_claim(
                lambda version: refund_posting(replace(self._refund, version=version), claim=claim, actor=actor),
                object_id=self._refund.id,
                version=self._refund.version,
                open_statuses=OPEN_STATUSES,
            )
            if version is not None:
                self._refund = replace(self._refund, version=version)
        return version is None

    def _document(self) -> dict[str, Any]:
        return refund_document(self._refund)

    async def _report(self, progress: InquiryProgress, waiting: Attempt) -> None:
        status = RefundStatus.PENDING if waiting.outcome is Outcome.PENDING else RefundStatus.UNKNOWN
        first = self._refund.status is not status
        extra: tuple[Record, ...] = ()
        if progress.exhausted and self._exception is None:
            self._exception = unknown_outcome_exception(
                self._refund.id,
                rail=waiting.rail,
                rail_key=waiting.rail_key,
                since=rfc3339(waiting.requested_at),
                status="open",
            )
            extra = (self._exception,)
        await self._commit(
            replace(
                self._refund,
                status=status,
                next_check_at=progress.next_check_at,
                inquiries=trail_with(self._refund.inquiries, waiting),
            ),
            event=f"refund.{status}" if first else None,
            attempts=(waiting,) if first else (),
            extra=extra,
        )

    async def _commit(
        self,
        refund: Refund,
        *,
        event: str | None = None,
        facts: tuple[Fact, ...] = (),
        attempts: tuple[Attempt, ...] = (),
        claim: KeyClaim | None = None,
        extra: tuple[Record, ...] = (),
    ) -> bool:
        """Commit the refund's next version; True if an earlier run of this step had done so."""
        refund = replace(refund, inquiries=trail_with(refund.inquiries, *attempts))
        if self._exception is not None and refund.status in (RefundStatus.SUCCEEDED, RefundStatus.FAILED):
            closed = replace(self._exception, version=2, document={**self._exception.document, "status": "resolved"})
            extra, self._exception = (*extra, closed), None
        async with self._committing:
            version, result = await commit_next_version(
                lambda version: refund_posting(
                    replace(refund, version=version),
                    event=event,
                    facts=facts,
                    attempts=attempts,
                    claim=claim,
                    actor=self._start.actor,
                    extra=extra,
                ),
                object_id=refund.id,
                version=self._refund.version,
                open_statuses=OPEN_STATUSES,
            )
            assert result.refusal is None, result.refusal
            self._refund = replace(refund, version=version)
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(refund.status.value)])
        return result.duplicate

    def _fact_terms(self) -> dict[str, Any]:
        refund = self._refund
        return {
            "refund_id": refund.id,
            "account": refund.account,
            "rail": refund.rail,
            "amount_minor": refund.amount_minor,
            "currency": refund.currency,
        }
