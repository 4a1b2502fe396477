"""An orphan: an order that had ended took effect at its rail after all, and is given back (semantics rule 10).

Told by a late notice of the rail, or found by asking on after a person had called an order declined. The
charge itself is not touched: it had ended, and stays as the customer was told.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from domain.facts import Fact, OrphanReceived, OrphanReversed
    from domain.identifiers import Mode, rail_key
    from domain.ledger import KeyClaim, RefusalCode
    from domain.orphan import Orphan, OrphanStatus, orphan_document
    from domain.rail import DEFINITE_OUTCOMES, Attempt, Outcome, RailAnswer, RailRequest, trail_with
    from workflows import effects, policies, search_attributes
    from workflows.committing import commit_next_version
    from workflows.inquiry import InquiryProgress
    from workflows.ports import RailInquiry
    from workflows.postings import orphan_posting
    from workflows.rail_notices import HearsRails, RailMailbox
    from workflows.rail_orders import give_order, renumbered
    from workflows.update_answer import UpdateAnswer, key_conflict

OPEN_STATUSES: frozenset[str] = frozenset({OrphanStatus.OPEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrphan:
    """What starts it. `told_by_rail`: the rail's own signed notice says so, and asking may only contradict it."""

    orphan: Orphan
    told_by_rail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidOrphan:
    """An operator's order to try once more, after the rail had refused to give the money back."""

    actor: str
    note: str
    claim: KeyClaim


@workflow.defn(name="OrphanWorkflow")
class OrphanWorkflow(HearsRails):
    """One run per effect at a rail; the only writer of the exception it is held as."""

    @workflow.init
    def __init__(self, start: StartOrphan) -> None:
        self._orphan = start.orphan
        self._started = False
        self._told_to_try = False
        self._lock = asyncio.Lock()
        self._mailbox = RailMailbox()

    @workflow.run
    async def run(self, start: StartOrphan) -> dict[str, Any]:
        """Make sure of it, post it to suspense, give it back; return it as the API shows it."""
        if not await self._happened(told_by_rail=start.told_by_rail):
            return {"object": "orphan", "status": "never_happened"}
        attempt = self._first_attempt()
        resumed = await self._commit(
            replace(self._orphan, reversal_key=attempt.rail_key),
            event="charge.orphan_detected",
            facts=(OrphanReceived(**self._fact_terms()),),
            attempts=(attempt,),
        )
        self._started = True
        while True:
            attempt, answer = await self._insist(attempt, resumed=resumed)
            if answer.outcome is Outcome.APPROVED:
                break
            attempt = await self._wait_for_operator(attempt, answer)
            resumed = False
        await self._commit(
            replace(self._orphan, status=OrphanStatus.RESOLVED, stuck=None, next_check_at=None),
            event="charge.orphan_reversed",
            facts=(OrphanReversed(**self._fact_terms()),),
            attempts=(attempt,),
        )
        await workflow.wait_condition(workflow.all_handlers_finished)
        return orphan_document(self._orphan)

    async def _happened(self, *, told_by_rail: bool) -> bool:
        """Ask the rail until it says what became of the order; its notice stands where it never tells."""
        orphan = self._orphan
        if orphan.effect_key != orphan.rail_key:
            return True  # A second effect of one order: asking about the order brings the first one's answer.
        question = RailInquiry(
            rail=orphan.rail,
            flow=orphan.flow,
            rail_key=orphan.rail_key,
            sent_at=orphan.created_at,
            mode=orphan.mode,
        )
        for pause_seconds in policies.ORPHAN_QUESTIONS_SECONDS[Mode(orphan.mode)]:
            if pause_seconds:
                await workflow.sleep(pause_seconds)
            answer = await effects.inquire(question)
            if answer.outcome in DEFINITE_OUTCOMES:
                return answer.outcome is Outcome.APPROVED
        return told_by_rail

    async def _insist(self, attempt: Attempt, *, resumed: bool) -> tuple[Attempt, RailAnswer]:
        """Carry the order to a definite answer; a new attempt only if the rail never saw the last."""
        for pause in (*policies.NOT_ATTEMPTED_PAUSES, None):
            request = self._order(attempt, resumed=resumed)
            attempt, answer = await give_order(request, attempt, report=self._report, mailbox=self._mailbox)
            if answer.outcome is not Outcome.NOT_ATTEMPTED or pause is None:
                return attempt, answer
            await workflow.sleep(pause)
            again = renumbered(attempt)
            resumed = await self._commit(replace(self._orphan, reversal_key=again.rail_key), attempts=(attempt, again))
            attempt = again
        raise AssertionError("the last pause ends the loop")

    async def _wait_for_operator(self, attempt: Attempt, answer: RailAnswer) -> Attempt:
        """Leave it open with the rail's reason until an operator tries again; return the attempt to make then."""
        why = answer.decline_code or answer.outcome.value
        await self._commit(replace(self._orphan, stuck=why, next_check_at=None), attempts=(attempt,))
        await workflow.wait_condition(lambda: self._told_to_try)
        again = renumbered(attempt)
        await self._commit(replace(self._orphan, reversal_key=again.rail_key, stuck=None), attempts=(again,))
        self._told_to_try = False
        return again

    @workflow.update(name="void_orphan")
    async def void_orphan(self, request: VoidOrphan) -> UpdateAnswer:
        """Try once more to give the money back, under a new rail key: only after the rail's definite no."""
        await workflow.wait_condition(lambda: self._started)
        if self._orphan.status is not OrphanStatus.OPEN:
            return UpdateAnswer(
                document=orphan_document(self._orphan),
                conflict_code="exception_already_resolved",
                conflict_detail="The orphan has been given back.",
            )
        async with self._lock:
            if self._orphan.stuck is not None and not self._told_to_try:
                if await self._claim(request):
                    return key_conflict()
                self._told_to_try = True
        # Whoever comes while it is being given back waits for the same end.
        await workflow.wait_condition(lambda: not self._told_to_try)
        await workflow.wait_condition(
            lambda: self._orphan.status is OrphanStatus.RESOLVED or self._orphan.stuck is not None
        )
        return UpdateAnswer(document=orphan_document(self._orphan))

    # --- orders and commits ---

    def _first_attempt(self) -> Attempt:
        orphan = self._orphan
        return Attempt(
            rail_key=rail_key(orphan.reversal_operation, 1),
            operation_id=orphan.reversal_operation,
            number=1,
            rail=orphan.rail,
            flow=orphan.reversal_flow,
            amount_minor=orphan.amount_minor,
            currency=orphan.currency,
            reason=f"orphan of {orphan.charge}",
            requested_at=workflow.now(),
        )

    def _order(self, attempt: Attempt, *, resumed: bool) -> RailRequest:
        orphan = self._orphan
        return RailRequest(
            rail=attempt.rail,
            flow=attempt.flow,
            rail_key=attempt.rail_key,
            amount_minor=attempt.amount_minor,
            currency=attempt.currency,
            merchant_id=orphan.merchant_id,
            mode=orphan.mode,
            original_rail_key=orphan.original_rail_key,
            deadline_seconds=policies.RAIL_DEADLINE_SECONDS,
            resumed=resumed,
        )

    async def _report(self, progress: InquiryProgress, waiting: Attempt) -> None:
        await self._commit(replace(self._orphan, next_check_at=progress.next_check_at), attempts=(waiting,))

    async def _claim(self, request: VoidOrphan) -> bool:
        """Commit the operator's order with its key; True if the key belongs to something else."""
        version, result = await commit_next_version(
            lambda version: orphan_posting(
                replace(self._orphan, version=version),
                claim=request.claim,
                actor=f"{request.actor}: {request.note}",
            ),
            object_id=self._orphan.id,
            version=self._orphan.version,
            open_statuses=OPEN_STATUSES,
        )
        if result.refusal is not None:
            assert result.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN, result.refusal
            return True
        self._orphan = replace(self._orphan, version=version)
        return False

    async def _commit(
        self,
        orphan: Orphan,
        *,
        event: str | None = None,
        facts: tuple[Fact, ...] = (),
        attempts: tuple[Attempt, ...] = (),
    ) -> bool:
        """Commit the orphan's next version; True if an earlier run of this step had done so."""
        orphan = replace(orphan, inquiries=trail_with(orphan.inquiries, *attempts))
        version, result = await commit_next_version(
            lambda version: orphan_posting(
                replace(orphan, version=version), event=event, facts=facts, attempts=attempts
            ),
            object_id=orphan.id,
            version=self._orphan.version,
            open_statuses=OPEN_STATUSES,
        )
        assert result.refusal is None, result.refusal
        self._orphan = replace(orphan, version=version)
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(orphan.status.value)])
        return result.duplicate

    def _fact_terms(self) -> dict[str, Any]:
        orphan = self._orphan
        return {
            "orphan_id": orphan.id,
            "rail": orphan.rail,
            "amount_minor": orphan.amount_minor,
            "currency": orphan.currency,
            "taken": orphan.taken,
        }


async def watch_for_orphan(orphan: Orphan) -> None:
    """Ask on whether an order that a person called declined took effect after all; from another workflow.

    The run is the orphan's own and outlives its parent. Harmless when it is under way already.
    """
    try:
        await workflow.start_child_workflow(
            OrphanWorkflow.run,
            StartOrphan(orphan=orphan, told_by_rail=False),
            id=orphan.workflow_id,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=search_attributes.started_with(
                merchant_id=orphan.merchant_id,
                kind="orphan",
                status="watched",
                currency=orphan.currency,
                amount_minor=orphan.amount_minor,
            ),
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("%s is looked into already", orphan.workflow_id)
