"""A dispute from the bank's word to its end: the books follow at once, evidence goes to the rail in time.

The money of a chargeback moves with the commit that opens it; nothing here can stop it. What ends a
dispute is the rail's notice, or the deadline for evidence when none was submitted.
"""

import asyncio
from collections import deque
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.dispute import AWAITING_EVIDENCE, FINAL_STATUSES, Dispute, dispute_document
    from domain.facts import Fact
    from domain.identifiers import post_tag
    from domain.ledger import KeyClaim, PostingResult, RefusalCode
    from domain.rail import Attempt, Outcome, RailAnswer
    from workflows import dispute_states, policies, search_attributes
    from workflows.committing import commit_next_version
    from workflows.dispute_messages import DisputeTold, StartDispute, SubmitEvidence
    from workflows.dispute_states import DisputeStep
    from workflows.inquiry import InquiryProgress
    from workflows.postings import dispute_posting, suspense_exception
    from workflows.rail_notices import HearsRails, RailMailbox
    from workflows.rail_orders import give_order, renumbered
    from workflows.update_answer import UpdateAnswer, key_conflict
    from workflows.versions import DISPUTE_LIFECYCLE

OPEN_STATUSES = frozenset({"warning_needs_response", "warning_under_review", "needs_response", "under_review"})


@workflow.defn(name="DisputeWorkflow")
class DisputeWorkflow(HearsRails):
    """One run per rail reference, so that a notice delivered twice posts once; the only writer of its dispute."""

    @workflow.init
    def __init__(self, start: StartDispute) -> None:
        self._dispute = start.dispute
        self._news: deque[DisputeTold] = deque()
        self._lock = asyncio.Lock()
        self._begun = False
        self._mailbox = RailMailbox()

    @workflow.run
    async def run(self, start: StartDispute) -> dict[str, Any]:
        """Tell the story of one dispute and return it as the API shows it."""
        await self._commit(dispute_states.opened(start.dispute))
        if not workflow.patched(DISPUTE_LIFECYCLE):
            return dispute_document(self._dispute)
        self._begun = True
        while self._dispute.status not in FINAL_STATUSES:
            await self._await_news()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return dispute_document(self._dispute)

    async def _await_news(self) -> None:
        """Wait for the rail, at most until the deadline for evidence, and follow what it says."""
        try:
            await workflow.wait_condition(lambda: bool(self._news), timeout=self._time_for_evidence())
        except TimeoutError:
            async with self._lock:
                # Evidence on its way to the rail holds the lock: then the deadline was met.
                if self._dispute.status in AWAITING_EVIDENCE and not self._news:
                    await self._commit(dispute_states.deadline_passed(self._dispute))
            return
        async with self._lock:
            step = dispute_states.told(self._dispute, self._news.popleft(), workflow.now())
            if step is not None:
                await self._commit(step)

    def _time_for_evidence(self) -> timedelta | None:
        dispute = self._dispute
        if dispute.status not in AWAITING_EVIDENCE or dispute.past_due or dispute.evidence_due_by is None:
            return None
        return max(dispute.evidence_due_by - workflow.now(), timedelta(0))

    @workflow.signal(name="told")
    async def told(self, news: DisputeTold) -> None:
        """Take a rail's notice; told again, it changes nothing."""
        self._news.append(news)

    # --- evidence ---

    @workflow.update(name="submit_evidence")
    async def submit_evidence(self, request: SubmitEvidence) -> UpdateAnswer:
        """Keep evidence, and with `submit` hand it to the rail before the deadline."""
        await workflow.wait_condition(lambda: self._begun)
        async with self._lock:
            conflict = dispute_states.evidence_conflict(self._dispute)
            if conflict is not None:
                return conflict
            kept = replace(self._dispute, evidence={**self._dispute.evidence, **request.evidence})
            step = DisputeStep(dispute=kept, event="dispute.updated")
            if not request.submit:
                result = await self._commit(step, claim=request.claim, actor=request.actor)
                return key_conflict() if _key_taken(result) else UpdateAnswer(document=dispute_document(self._dispute))
            attempt = dispute_states.evidence_attempt(kept, post_tag(request.claim.key), workflow.now())
            result = await self._commit(step, claim=request.claim, actor=request.actor, attempts=(attempt,))
            if _key_taken(result):
                return key_conflict()
            return await self._hand_over(attempt, resumed=result.duplicate)

    async def _hand_over(self, attempt: Attempt, *, resumed: bool) -> UpdateAnswer:
        attempt, answer = await self._insist(attempt, resumed=resumed)
        if answer.outcome is Outcome.APPROVED:
            await self._commit(dispute_states.submitted(self._dispute, workflow.now()), attempts=(attempt,))
            return UpdateAnswer(document=dispute_document(self._dispute))
        refused = replace(self._dispute, next_check_at=None)
        await self._commit(DisputeStep(dispute=refused, event="dispute.evidence_refused"), attempts=(attempt,))
        detail = f"{attempt.rail} did not take the evidence: {answer.decline_code or answer.outcome}."
        return dispute_states.conflict_answer(self._dispute, "evidence_refused", detail)

    async def _insist(self, attempt: Attempt, *, resumed: bool) -> tuple[Attempt, RailAnswer]:
        """Carry the order to a definite answer; a new attempt only if the rail never saw the last."""
        for pause in (*policies.NOT_ATTEMPTED_PAUSES, None):
            order = dispute_states.evidence_order(self._dispute, attempt, resumed=resumed)
            attempt, answer = await give_order(order, attempt, report=self._report, mailbox=self._mailbox)
            if answer.outcome is not Outcome.NOT_ATTEMPTED or pause is None:
                return attempt, answer
            await workflow.sleep(pause)
            again = renumbered(attempt)
            step = DisputeStep(dispute=self._dispute, event=None)
            resumed = (await self._commit(step, attempts=(attempt, again))).duplicate
            attempt = again
        raise AssertionError("the last pause ends the loop")

    async def _report(self, progress: InquiryProgress, waiting: Attempt) -> None:
        asked = replace(self._dispute, next_check_at=progress.next_check_at)
        await self._commit(DisputeStep(dispute=asked, event=None), attempts=(waiting,))

    # --- committing ---

    async def _commit(
        self,
        step: DisputeStep,
        *,
        claim: KeyClaim | None = None,
        actor: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> PostingResult:
        """Commit the dispute's next version. What a closed account can't take goes to suspense, for a person."""
        facts: tuple[Fact, ...] = step.facts
        version, result = await self._post(step, facts, claim=claim, actor=actor, attempts=attempts)
        if result.refusal is not None and result.refusal.code is RefusalCode.ACCOUNT_CLOSED:
            facts = tuple(replace(fact, to_suspense=True) for fact in step.facts)
            version, result = await self._post(step, facts, claim=claim, actor=actor, attempts=attempts)
        if _key_taken(result):
            return result
        assert result.refusal is None, result.refusal
        self._dispute = replace(step.dispute, version=version)
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(step.dispute.status.value)])
        return result

    async def _post(
        self,
        step: DisputeStep,
        facts: tuple[Fact, ...],
        *,
        claim: KeyClaim | None,
        actor: str | None,
        attempts: tuple[Attempt, ...],
    ) -> tuple[int, PostingResult]:
        dispute: Dispute = step.dispute
        suspended = any(getattr(fact, "to_suspense", False) for fact in facts)
        exception = (suspense_exception(dispute, step.event, workflow.now()),) if suspended else ()
        return await commit_next_version(
            lambda version: dispute_posting(
                replace(dispute, version=version),
                event=step.event,
                facts=facts,
                attempts=attempts,
                claim=claim,
                actor=actor,
                extra=exception,
            ),
            object_id=dispute.id,
            version=self._dispute.version,
            open_statuses=OPEN_STATUSES,
        )


def _key_taken(result: PostingResult) -> bool:
    return result.refusal is not None and result.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN
