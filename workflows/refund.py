"""A refund: set the money aside, ask the rail of the charge, then post or give it back."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import Fact, RefundFailed, RefundSucceeded
    from domain.ledger import KeyClaim, PostingResult, RefundGuard, RefusalCode
    from domain.rail import Attempt, Outcome, RailAnswer
    from domain.refund import Refund, RefundStatus, refund_document
    from domain.refund_policy import OnLowBalance
    from workflows import policies, refund_states, search_attributes
    from workflows.committing import commit_next_version
    from workflows.findings import TakesFindings
    from workflows.inquiry import InquiryProgress
    from workflows.order_writer import OrderWriter
    from workflows.postings import refund_posting
    from workflows.rail_notices import HearsRails, RailMailbox
    from workflows.rail_orders import give_order, renumbered
    from workflows.refund_fees import settle_refund_fee
    from workflows.refund_messages import CancelRefund, StartRefund
    from workflows.update_answer import UpdateAnswer, key_conflict

OPEN_STATUSES: frozenset[str] = frozenset({RefundStatus.PROCESSING, RefundStatus.PENDING, RefundStatus.UNKNOWN})


@workflow.defn(name="RefundWorkflow")
class RefundWorkflow(HearsRails, TakesFindings):
    """One run per idempotency key; the only writer of its refund."""

    @workflow.init
    def __init__(self, start: StartRefund) -> None:
        self._start = start
        self._writer = OrderWriter(start.refund, refund_posting, open_statuses=OPEN_STATUSES, actor=start.actor)
        self._mailbox = RailMailbox()
        self._lock = asyncio.Lock()
        self._funds_told = False

    @property
    def _refund(self) -> Refund:
        return self._writer.current

    @workflow.run
    async def run(self, start: StartRefund) -> dict[str, Any]:
        """Tell the story of one refund and return it as the API shows it."""
        attempt = refund_states.first_attempt(self._refund, workflow.now())
        reserved: PostingResult | None = await self._reserve(attempt, claim=start.claim)
        assert reserved is not None
        if self._must_wait(reserved):
            reserved = await self._await_funds(attempt)
        if reserved is None:
            await workflow.wait_condition(workflow.all_handlers_finished)
            return refund_document(self._refund)
        if reserved.refusal is not None:
            return await self._refuse(reserved)
        attempt, answer = await self._insist(attempt, resumed=reserved.duplicate)
        if answer.outcome is Outcome.APPROVED:
            fact: Fact = RefundSucceeded(**refund_states.fact_terms(self._refund))
            await self._writer.commit(
                replace(self._refund, status=RefundStatus.SUCCEEDED, next_check_at=None),
                event="refund.succeeded",
                facts=(fact,),
                attempts=(attempt,),
            )
            document = await self._with_fee()
            await workflow.wait_condition(workflow.all_handlers_finished)
            return document
        else:
            failed = replace(
                self._refund,
                status=RefundStatus.FAILED,
                failure_code=answer.decline_code or "rail_not_available",
                failure_detail=f"{attempt.rail} declined the refund.",
                next_check_at=None,
            )
            fact = RefundFailed(**refund_states.fact_terms(self._refund))
            await self._writer.commit(failed, event="refund.failed", facts=(fact,), attempts=(attempt,))
        await workflow.wait_condition(workflow.all_handlers_finished)
        return refund_document(self._refund)

    async def _with_fee(self) -> dict[str, Any]:
        """Give back the part of the charge's fee that the merchant's plan returns, and return the refund."""
        refund = self._refund
        return await settle_refund_fee(
            refund_document(refund), merchant_id=refund.merchant_id, mode=refund.mode, actor=self._start.actor
        )

    # --- setting the money aside ---

    async def _reserve(self, attempt: Attempt, *, claim: KeyClaim | None) -> PostingResult:
        """Set the money aside within the charge's refundable amount, and write the attempt ahead."""
        refund = replace(self._refund, status=RefundStatus.PROCESSING, pending_reason=None)
        version, result = await commit_next_version(
            lambda version: refund_posting(
                replace(refund, version=version),
                facts=(refund_states.reservation(refund, self._start.policy),),
                attempts=(attempt,),
                claim=claim,
                guard=self._guard(),
                actor=self._start.actor,
            ),
            object_id=refund.id,
            version=refund.version,
            open_statuses=frozenset(),
        )
        if result.refusal is None:
            self._writer.current = replace(refund, version=version)
        return result

    def _must_wait(self, reserved: PostingResult) -> bool:
        """Tell whether a refusal is one of money that may still come, now or as an earlier run had found."""
        refusal = reserved.refusal
        if refusal is None or self._start.policy.on_low_balance is not OnLowBalance.WAIT:
            return False
        stored = reserved.documents.get(self._refund.id, {})
        return refusal.code is RefusalCode.EXCEEDS_AVAILABLE_BALANCE or (
            refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS
            and stored.get("pending_reason") == refund_states.AWAITING_FUNDS
        )

    async def _await_funds(self, attempt: Attempt) -> PostingResult | None:
        """Keep the refund until the account covers it; None once it has ended without.

        Its amount counts against the charge all the while. Tried again when somebody says that there are
        funds, and by the clock; given up by a person, or when its time is over.
        """
        waiting = refund_states.awaiting_funds(self._refund, self._start.policy, workflow.now())
        result = await self._commit_waiting(waiting)
        if result.refusal is not None:
            return result
        for pause in policies.funds_pauses(self._refund.mode):
            left = max((waiting.waits_until or workflow.now()) - workflow.now(), timedelta(0))
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._funds_told or not refund_states.is_awaiting_funds(self._refund),
                    timeout=min(pause, left),
                )
            self._funds_told = False
            async with self._lock:
                if not refund_states.is_awaiting_funds(self._refund):
                    return None
                reserved = await self._reserve(replace(attempt, requested_at=workflow.now()), claim=None)
                short = reserved.refusal is not None and reserved.refusal.code is RefusalCode.EXCEEDS_AVAILABLE_BALANCE
                if not short:
                    return reserved
                if workflow.now() >= (waiting.waits_until or workflow.now()):
                    await self._give_up("funds_did_not_come", "The account did not cover the refund in time.")
                    return None
        raise AssertionError("the pauses have no end")

    async def _commit_waiting(self, waiting: Refund) -> PostingResult:
        version, result = await commit_next_version(
            lambda version: refund_posting(
                replace(waiting, version=version),
                event="refund.pending",
                claim=self._start.claim,
                guard=self._guard(),
                actor=self._start.actor,
            ),
            object_id=waiting.id,
            version=waiting.version,
            open_statuses=frozenset(),
        )
        if result.refusal is None:
            self._writer.current = replace(waiting, version=version)
            workflow.upsert_search_attributes([search_attributes.STATUS.value_set(waiting.status.value)])
        return result

    def _guard(self) -> RefundGuard:
        refund = self._refund
        return RefundGuard(charge_id=refund.charge, refund_id=refund.id, amount_minor=refund.amount_minor)

    async def _give_up(self, code: str, detail: str) -> None:
        await self._writer.commit(refund_states.ended_without_order(self._refund, code, detail), event="refund.failed")

    async def _refuse(self, reserved: PostingResult) -> dict[str, Any]:
        """Remember the ledger's refusal, so that a retry cannot turn it into a refund."""
        refusal = reserved.refusal
        assert refusal is not None
        if refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            return {"object": "superseded", "key_taken_by": refusal.object_id}
        if refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
            return reserved.documents[self._refund.id]
        failed = refund_states.ended_without_order(self._refund, refusal.code.value, refusal.detail)
        claim = self._start.claim if self._refund.version == 0 else None
        await self._writer.commit(failed, event="refund.failed", claim=claim)
        return refund_document(self._refund)

    @workflow.signal(name="funds_arrived")
    def funds_arrived(self) -> None:
        """Hear that the account was credited: a refund that waits for it tries again at once."""
        self._funds_told = True

    @workflow.update(name="cancel")
    async def cancel(self, request: CancelRefund) -> UpdateAnswer:
        """Give up a refund that still waits for funds."""
        async with self._lock:
            conflict = refund_states.cancel_conflict(self._refund)
            if conflict is not None:
                return conflict
            gone = refund_states.ended_without_order(
                self._refund, "canceled", "The merchant cancelled it while it waited for funds."
            )
            if not await self._claim_and_commit(gone, request):
                return key_conflict()
            return UpdateAnswer(document=refund_document(self._refund))

    async def _claim_and_commit(self, gone: Refund, request: CancelRefund) -> bool:
        """Commit the end with the key of whoever asked for it; False if the key belongs to something else."""
        version, result = await commit_next_version(
            lambda version: refund_posting(
                replace(gone, version=version), event="refund.failed", claim=request.claim, actor=request.actor
            ),
            object_id=gone.id,
            version=self._refund.version,
            open_statuses=OPEN_STATUSES,
        )
        if result.refusal is not None and result.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            return False
        assert result.refusal is None, result.refusal
        self._writer.current = replace(gone, version=version)
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(gone.status.value)])
        return True

    # --- asking the rail ---

    async def _insist(self, attempt: Attempt, *, resumed: bool) -> tuple[Attempt, RailAnswer]:
        """Carry the order to a definite answer; a new attempt only if the rail never saw the last."""
        for pause in (*policies.NOT_ATTEMPTED_PAUSES, None):
            attempt, answer = await give_order(
                refund_states.rail_order(self._refund, attempt, resumed=resumed),
                attempt,
                report=self._report,
                mailbox=self._mailbox,
                decided_by_person=lambda: self._finding,
            )
            if answer.outcome is not Outcome.NOT_ATTEMPTED or pause is None:
                return attempt, answer
            await workflow.sleep(pause)
            again = renumbered(attempt)
            resumed = await self._writer.commit(self._refund, attempts=(attempt, again))
            attempt = again
        raise AssertionError("the last pause ends the loop")

    def _awaits_rail(self) -> bool:
        asked = self._refund.status in (RefundStatus.PENDING, RefundStatus.UNKNOWN)
        return asked and not refund_states.is_awaiting_funds(self._refund)

    async def _take_claim(self, claim: KeyClaim, actor: str) -> bool:
        return await self._writer.claim(claim, actor)

    def _document(self) -> dict[str, Any]:
        return refund_document(self._refund)

    async def _report(self, progress: InquiryProgress, waiting: Attempt) -> None:
        status = RefundStatus.PENDING if waiting.outcome is Outcome.PENDING else RefundStatus.UNKNOWN
        await self._writer.report(
            replace(self._refund, status=status),
            progress,
            waiting,
            first=self._refund.status is not status,
            event=f"refund.{status}",
        )
