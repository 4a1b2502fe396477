"""A payout: money leaves the account into transit, then to the beneficiary or, after a definite no, back."""

import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import PayoutFailed, PayoutPaid, PayoutRerouted, PayoutStarted
    from domain.identifiers import rail_key
    from domain.ledger import KeyClaim, PostingResult, RefusalCode
    from domain.payout import Payout, PayoutStatus, payout_document
    from domain.payout_stop import PAYOUTS_STOPPED
    from domain.rail import Attempt, DeclineClass, Flow, Outcome, RailAnswer, RailRequest
    from workflows import effects, policies
    from workflows.committing import commit_next_version
    from workflows.findings import TakesFindings
    from workflows.inquiry import InquiryProgress
    from workflows.order_writer import OrderWriter
    from workflows.ports import PlanPayout
    from workflows.postings import payout_posting
    from workflows.rail_notices import HearsRails, RailMailbox
    from workflows.rail_orders import give_order, renumbered
    from workflows.watch_ports import AskStop

OPEN_STATUSES: frozenset[str] = frozenset({PayoutStatus.PROCESSING, PayoutStatus.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPayout:
    """What starts a payout."""

    payout: Payout
    claim: KeyClaim
    actor: str = "api"


@workflow.defn(name="PayoutWorkflow")
class PayoutWorkflow(HearsRails, TakesFindings):
    """One run per idempotency key; the only writer of its payout."""

    @workflow.init
    def __init__(self, start: StartPayout) -> None:
        self._start = start
        self._writer = OrderWriter(start.payout, payout_posting, open_statuses=OPEN_STATUSES, actor=start.actor)
        self._mailbox = RailMailbox()

    @property
    def _payout(self) -> Payout:
        return self._writer.current

    @workflow.run
    async def run(self, start: StartPayout) -> dict[str, Any]:
        """Tell the story of one payout and return it as the API shows it."""
        plan = await effects.plan_payout(PlanPayout(payout=start.payout))
        if not plan.options:
            return await self._refuse("no_rail_available", "No rail can pay this currency to this destination.")
        self._writer.current = replace(self._payout, route=plan.options, rail=plan.options[0].rail, attempts=1)
        attempt = self._first_attempt()
        started = await self._start_transit(attempt)
        while started.refusal is not None and started.refusal.code is RefusalCode.PAYOUTS_STOPPED:
            await self._wait_for_lift(claim=self._start.claim)
            started = await self._start_transit(attempt)
        if started.refusal is not None:
            if started.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
                return {"object": "superseded", "key_taken_by": started.refusal.object_id}
            if started.refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
                return started.documents[self._payout.id]
            return await self._refuse(started.refusal.code.value, started.refusal.detail)
        await self._pay(attempt, resumed=started.duplicate, attempts_max=plan.attempts_max)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return payout_document(self._payout)

    async def _pay(self, attempt: Attempt, *, resumed: bool, attempts_max: int) -> None:
        """Ask rails in the order of the plan until one pays or none may be asked any more."""
        while True:
            answered, answer = await give_order(
                self._order(attempt, resumed),
                attempt,
                report=self._report,
                mailbox=self._mailbox,
                decided_by_person=lambda: self._finding,
            )
            if answer.decline_code == PAYOUTS_STOPPED:
                resumed = await self._wait_for_lift()
                continue
            attempt = answered
            if answer.outcome is Outcome.APPROVED:
                paid = replace(self._payout, status=PayoutStatus.PAID, next_check_at=None)
                terms = self._terms()
                del terms["account"]
                await self._writer.commit(paid, event="payout.paid", facts=(PayoutPaid(**terms),), attempts=(attempt,))
                return
            follow = self._next_rail(answer, attempts_max)
            if follow is None:
                failed = replace(
                    self._payout,
                    status=PayoutStatus.FAILED,
                    failure_code=answer.decline_code or "rail_not_available",
                    failure_detail=f"{attempt.rail} did not take the payout.",
                    next_check_at=None,
                )
                await self._writer.commit(
                    failed, event="payout.failed", facts=(PayoutFailed(**self._terms()),), attempts=(attempt,)
                )
                return
            again = renumbered(attempt, follow)
            rerouted = PayoutRerouted(
                payout_id=self._payout.id,
                attempt_number=again.number,
                from_rail=attempt.rail,
                rail=follow,
                amount_minor=self._payout.amount_minor,
                currency=self._payout.currency,
            )
            moved = replace(self._payout, rail=follow, attempts=again.number)
            resumed = await self._writer.commit(moved, facts=(rerouted,), attempts=(attempt, again))
            attempt = again

    def _next_rail(self, answer: RailAnswer, attempts_max: int) -> str | None:
        """Return the next rail of the plan after a definite no that another rail may turn into a yes."""
        soft = answer.outcome is Outcome.DECLINED and answer.decline_class is DeclineClass.SOFT
        if not soft and answer.outcome is not Outcome.NOT_ATTEMPTED:
            return None
        rails = [option.rail for option in self._payout.route]
        following = rails.index(self._payout.rail or rails[0]) + 1
        if self._payout.requested_rail != "auto" or following >= min(len(rails), attempts_max):
            return None
        return rails[following]

    async def _start_transit(self, attempt: Attempt) -> PostingResult:
        """Take the money from the account into transit, with the key and the first attempt."""
        payout = self._payout
        version, result = await commit_next_version(
            lambda version: payout_posting(
                replace(payout, version=version),
                event="payout.processing",
                facts=(PayoutStarted(**self._terms()),),
                attempts=(attempt,),
                claim=self._start.claim,
                actor=self._start.actor,
            ),
            object_id=payout.id,
            version=payout.version,
            # Stored as `processing` under this version: an earlier run had to wait, and payouts go again.
            open_statuses=frozenset({PayoutStatus.PROCESSING}),
        )
        if result.refusal is None:
            self._writer.current = replace(payout, version=version)
        return result

    async def _wait_for_lift(self, claim: KeyClaim | None = None) -> bool:
        """Wait until payouts in this currency go again; nothing was sent, and the payout says why it waits.

        Returns:
            Whether an earlier run of this step had got further, so that an order may have been sent.
        """
        stop = AskStop(currency=self._payout.currency)
        shown_pause = 0.0
        for seconds in policies.stop_pauses(self._payout.mode):
            if seconds != shown_pause:
                next_check_at = workflow.now() + timedelta(seconds=seconds)
                held = replace(self._payout, held_by=PAYOUTS_STOPPED, next_check_at=next_check_at)
                await self._writer.commit(held, claim=claim)
                shown_pause = seconds
            await self._pause(seconds)
            if not await effects.payouts_stopped(stop):
                break
        return await self._writer.commit(replace(self._payout, held_by=None, next_check_at=None))

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until an operator says that looking again is worth while."""
        order = rail_key(self._payout.id, self._payout.attempts)
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._mailbox.worth_asking(order), timeout=seconds)
        self._mailbox.asked(order)

    async def _refuse(self, code: str, detail: str) -> dict[str, Any]:
        """Remember a refusal before any money moved, so that a retry cannot turn it into a payout."""
        failed = replace(self._payout, status=PayoutStatus.FAILED, failure_code=code, failure_detail=detail)
        _, result = await commit_next_version(
            lambda version: payout_posting(
                replace(failed, version=version),
                event="payout.failed",
                claim=self._start.claim,
                actor=self._start.actor,
            ),
            object_id=failed.id,
            version=failed.version,
            open_statuses=frozenset(),
        )
        if result.refusal is not None and result.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            return {"object": "superseded", "key_taken_by": result.refusal.object_id}
        return result.documents[failed.id]

    def _first_attempt(self) -> Attempt:
        payout = self._payout
        option = payout.route[0]
        return Attempt(
            rail_key=rail_key(payout.id, 1),
            operation_id=payout.id,
            number=1,
            rail=option.rail,
            flow=Flow.PAYOUT,
            amount_minor=payout.amount_minor,
            currency=payout.currency,
            cost_estimate_minor=round(option.landed_cost_minor),
            reason=option.reason,
            requested_at=workflow.now(),
        )

    def _order(self, attempt: Attempt, resumed: bool) -> RailRequest:
        payout = self._payout
        return RailRequest(
            rail=attempt.rail,
            flow=Flow.PAYOUT,
            rail_key=attempt.rail_key,
            amount_minor=payout.amount_minor,
            currency=payout.currency,
            merchant_id=payout.merchant_id,
            mode=payout.mode,
            destination=dict(payout.destination),
            deadline_seconds=policies.RAIL_DEADLINE_SECONDS,
            resumed=resumed,
            requested_at=attempt.requested_at,
        )

    def _awaits_rail(self) -> bool:
        return self._payout.next_check_at is not None and self._payout.held_by is None

    async def _take_claim(self, claim: KeyClaim, actor: str) -> bool:
        return await self._writer.claim(claim, actor)

    def _document(self) -> dict[str, Any]:
        return payout_document(self._payout)

    async def _report(self, progress: InquiryProgress, waiting: Attempt) -> None:
        pending = waiting.outcome is Outcome.PENDING
        await self._writer.report(
            replace(self._payout, status=PayoutStatus.PROCESSING if pending else PayoutStatus.UNKNOWN),
            progress,
            waiting,
            first=self._payout.next_check_at is None,
            event=None if pending else "payout.unknown",
        )

    def _terms(self) -> dict[str, Any]:
        payout = self._payout
        return {
            "payout_id": payout.id,
            "account": payout.source,
            "rail": payout.rail,
            "amount_minor": payout.amount_minor,
            "currency": payout.currency,
        }
