"""A charge from assessment to settled, declined, voided or expired.

The happy path is one workflow task with three local activities: assess, attempt, post. Whatever is
slow or unclear leaves it: a customer's step, a capture later, an outcome nobody knows yet.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.charge import Charge, ChargeStatus, charge_document
    from domain.facts import Fact
    from domain.identifiers import capture_tag
    from domain.ledger import KeyClaim, Record, Refusal, RefusalCode
    from domain.rail import Attempt, DeclineClass, Outcome, RailAnswer, RailRequest
    from domain.risk import RiskDecision
    from domain.timestamps import rfc3339
    from workflows import charge_states, effects, failover, policies, search_attributes
    from workflows.charge_messages import (
        AuthenticateCharge,
        CaptureCharge,
        ResolveCharge,
        StartCharge,
        VoidCharge,
    )
    from workflows.committing import commit_next_version
    from workflows.inquiry import InquiryProgress
    from workflows.ports import AssessCharge, AssessedCharge
    from workflows.postings import charge_posting, unknown_outcome_exception
    from workflows.rail_notices import HearsRails, RailMailbox
    from workflows.rail_orders import give_order, renumbered
    from workflows.update_answer import UpdateAnswer, key_conflict

Document = dict[str, Any]


@workflow.defn(name="ChargeWorkflow")
class ChargeWorkflow(HearsRails):
    """One run per idempotency key; the only writer of its charge."""

    @workflow.init
    def __init__(self, start: StartCharge) -> None:
        self._start = start
        self._charge = start.charge
        self._terms = AssessedCharge(charge=start.charge)
        self._lock = asyncio.Lock()
        self._authentication: dict[str, str] | None = None
        self._finding: RailAnswer | None = None
        self._exception: Record | None = None
        self._mailbox = RailMailbox()

    @workflow.run
    async def run(self, start: StartCharge) -> Document:
        """Tell the story of one charge and return it as the API shows it."""
        self._terms = await effects.assess_charge(
            AssessCharge(charge=start.charge, claim=start.claim, actor=start.actor)
        )
        if self._terms.key_taken_by is not None:
            return {"object": "superseded", "key_taken_by": self._terms.key_taken_by}
        self._charge = self._terms.charge
        if await self._pass_risk():
            await self._authorize()
        if self._charge.status is ChargeStatus.AUTHORIZED:
            await self._await_capture()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return charge_document(self._charge)

    # --- assess ---

    async def _pass_risk(self) -> bool:
        """Act on the risk decision; True when there is an attempt to be made."""
        risk = self._charge.risk
        assert risk is not None, "an assessed charge has a risk decision"
        if risk.decision is RiskDecision.BLOCK:
            await self._decline("blocked_by_risk", DeclineClass.HARD)
            return False
        if not self._charge.route:
            await self._decline("no_rail_available", DeclineClass.DATA_FIX)
            return False
        if risk.decision is RiskDecision.STEP_UP:
            if not await self._challenge():
                return False
            first = failover.new_attempt(self._charge, self._charge.route[0].rail, reason="customer authenticated")
            await self._open_attempt(first)
        return True

    # --- attempt and fail over ---

    async def _authorize(self) -> None:
        """Ask rails in the order of the plan until one says yes or none may be asked any more."""
        resumed = self._terms.resumed
        while True:
            attempt = self._charge.attempts[-1]
            attempt, answer = await give_order(
                self._authorization(attempt, resumed=resumed),
                attempt,
                report=self._report_unknown,
                mailbox=self._mailbox,
                decided_by_person=lambda: self._finding,
            )
            asked = self._charge.status is ChargeStatus.UNKNOWN
            self._charge = charge_states.with_attempt(self._charge, attempt)
            if answer.outcome is Outcome.APPROVED:
                await self._approve(answer)
                return
            if answer.decline_class is DeclineClass.SCA_REQUIRED and self._authentication is None:
                if not await self._challenge():
                    return
                follow: Attempt | None = failover.new_attempt(
                    self._charge, attempt.rail, reason="customer authenticated"
                )
            else:
                # An outcome learned by asking is late: the customer was told, no other rail is tried.
                follow = None if asked else failover.next_attempt(self._charge, answer, self._terms.attempts_max)
            if follow is None:
                code, decline_class = charge_states.final_decline(self._charge, answer)
                await self._decline(code, decline_class)
                return
            resumed = await self._open_attempt(follow)

    def _authorization(self, attempt: Attempt, *, resumed: bool) -> RailRequest:
        charge = self._charge
        return charge_states.rail_request(
            charge, attempt, resumed=resumed, capture=charge.capture, authentication=self._authentication
        )

    async def _open_attempt(self, attempt: Attempt) -> bool:
        """Write an attempt ahead together with the answer before it; True if it was there already."""
        attempt = replace(attempt, requested_at=workflow.now())
        previous = self._charge.attempts[-1:]
        charge = replace(
            self._charge,
            status=ChargeStatus.PROCESSING,
            attempts=(*self._charge.attempts, attempt),
            next_action=None,
        )
        return await self._commit(charge, attempts=(*previous, attempt))

    async def _approve(self, answer: RailAnswer) -> None:
        charge, facts = charge_states.approved(
            self._charge,
            self._terms,
            final_funds=answer.final_funds,
            capture_before=workflow.now() + timedelta(seconds=self._terms.authorization_seconds),
        )
        await self._commit(charge, event=f"charge.{charge.status}", facts=facts, attempts=charge.attempts[-1:])

    async def _decline(self, code: str, decline_class: DeclineClass) -> None:
        charge = replace(
            charge_states.without_waiting(self._charge),
            status=ChargeStatus.DECLINED,
            decline_code=code,
            decline_class=decline_class,
        )
        await self._commit(charge, event="charge.declined", attempts=charge.attempts[-1:])

    # --- the customer's step ---

    async def _challenge(self) -> bool:
        """Wait for the customer's authentication; True on success, else the charge is declined."""
        expires_at = rfc3339(workflow.now() + policies.CHALLENGE_EXPIRY)
        assert expires_at is not None
        action = {"type": "redirect", "url": self._start.challenge_url, "expires_at": expires_at}
        waiting = replace(self._charge, status=ChargeStatus.REQUIRES_ACTION, next_action=action)
        await self._commit(waiting, event="charge.requires_action", attempts=waiting.attempts[-1:])
        try:
            await workflow.wait_condition(lambda: self._authentication is not None, timeout=policies.CHALLENGE_EXPIRY)
        except TimeoutError:
            async with self._lock:
                if self._authentication is None:
                    await self._decline("authentication_timeout", DeclineClass.SCA_REQUIRED)
                    return False
        assert self._authentication is not None
        if self._authentication["result"] == "success":
            return True
        await self._decline("authentication_failed", DeclineClass.SCA_REQUIRED)
        return False

    @workflow.update(name="authenticate")
    async def authenticate(self, request: AuthenticateCharge) -> UpdateAnswer:
        """Take the result of the customer's step and answer with what came of the charge."""
        async with self._lock:
            if self._charge.status is not ChargeStatus.REQUIRES_ACTION:
                return charge_states.conflict_answer(self._charge, "no customer's step is awaited")
            back = replace(self._charge, status=ChargeStatus.PROCESSING, next_action=None)
            taken, _ = await self._claim(back, request.claim, actor=request.actor)
            if taken:
                return key_conflict()
            self._authentication = {**request.evidence, "result": request.result}
        await workflow.wait_condition(lambda: self._charge.status is not ChargeStatus.PROCESSING)
        return UpdateAnswer(document=charge_document(self._charge))

    # --- unknown ---

    async def _report_unknown(self, progress: InquiryProgress, attempt: Attempt) -> None:
        """Show the charge as unknown, with what was asked so far and when the rail is asked next."""
        charge = charge_states.with_attempt(self._charge, attempt)
        first = charge.status is not ChargeStatus.UNKNOWN
        charge = replace(
            charge,
            status=ChargeStatus.UNKNOWN,
            rail=attempt.rail,
            next_check_at=progress.next_check_at,
            inquiries=progress.asked,
        )
        await self._commit(
            charge,
            event="charge.unknown" if first else None,
            attempts=(attempt,) if first else (),
            extra=self._raise_exception(attempt) if progress.exhausted else (),
        )

    def _raise_exception(self, attempt: Attempt) -> tuple[Record, ...]:
        if self._exception is not None:
            return ()
        self._exception = unknown_outcome_exception(
            self._charge.id,
            rail=attempt.rail,
            rail_key=attempt.rail_key,
            since=rfc3339(attempt.requested_at),
            status="open",
        )
        return (self._exception,)

    @workflow.update(name="resolve")
    async def resolve(self, request: ResolveCharge) -> UpdateAnswer:
        """Take a person's finding about an unknown outcome, with the evidence kept in the audit log."""
        if self._charge.status is not ChargeStatus.UNKNOWN:
            return charge_states.conflict_answer(self._charge, "its outcome is not unknown")
        taken, _ = await self._claim(self._charge, request.claim, actor=f"{request.actor}: {request.note}")
        if taken:
            return key_conflict()
        self._finding = charge_states.finding(request.outcome, request.actor)
        await workflow.wait_condition(lambda: self._charge.status is not ChargeStatus.UNKNOWN)
        return UpdateAnswer(document=charge_document(self._charge))

    # --- capture, void, expiry ---

    async def _await_capture(self) -> None:
        """Keep the authorization until it is captured or voided, or let it expire."""
        assert self._charge.capture_before is not None
        try:
            await workflow.wait_condition(
                lambda: self._charge.status is not ChargeStatus.AUTHORIZED,
                timeout=self._charge.capture_before - workflow.now(),
            )
        except TimeoutError:
            async with self._lock:
                if self._charge.status is ChargeStatus.AUTHORIZED:
                    charge, facts = charge_states.released(self._charge, ChargeStatus.EXPIRED)
                    await self._commit(charge, event="charge.expired", facts=facts)

    @workflow.update(name="capture")
    async def capture(self, request: CaptureCharge) -> UpdateAnswer:
        """Take money of the authorization at the rail, then post it. Captures and voids take turns."""
        async with self._lock:
            conflict = charge_states.capture_conflict(self._charge, request.amount_minor)
            if conflict is not None:
                return conflict
            tag = capture_tag(request.claim.key)
            attempt = charge_states.capture_attempt(self._charge, request.amount_minor, tag)
            attempt = replace(attempt, requested_at=workflow.now())
            taken, resumed = await self._claim(self._charge, request.claim, actor=request.actor, attempts=(attempt,))
            if taken:
                return key_conflict()
            attempt, answer = await self._insist(attempt, resumed=resumed)
            if answer.outcome is not Outcome.APPROVED:
                await self._commit(charge_states.without_waiting(self._charge), attempts=(attempt,))
                return charge_states.conflict_answer(
                    self._charge, f"the rail declined the capture: {answer.decline_code}"
                )
            charge, facts = charge_states.captured(
                self._charge,
                self._terms,
                attempt.amount_minor,
                final=request.final,
                final_funds=answer.final_funds,
                capture=tag,
            )
            await self._commit(charge, event="charge.captured", facts=facts, attempts=(attempt,))
            return UpdateAnswer(document=charge_document(self._charge))

    @workflow.update(name="void")
    async def void(self, request: VoidCharge) -> UpdateAnswer:
        """Give the authorization back at the rail, then release the hold."""
        async with self._lock:
            if self._charge.status is not ChargeStatus.AUTHORIZED or self._charge.amount_captured_minor:
                return charge_states.conflict_answer(self._charge, "only an uncaptured authorization can be voided")
            attempt = replace(charge_states.void_attempt(self._charge), requested_at=workflow.now())
            taken, resumed = await self._claim(self._charge, request.claim, actor=request.actor, attempts=(attempt,))
            if taken:
                return key_conflict()
            attempt, answer = await self._insist(attempt, resumed=resumed)
            if answer.outcome is not Outcome.APPROVED:
                await self._commit(charge_states.without_waiting(self._charge), attempts=(attempt,))
                return charge_states.conflict_answer(self._charge, f"the rail declined the void: {answer.decline_code}")
            charge, facts = charge_states.released(self._charge, ChargeStatus.VOIDED)
            await self._commit(charge, event="charge.voided", facts=facts, attempts=(attempt,))
            return UpdateAnswer(document=charge_document(self._charge))

    async def _insist(self, attempt: Attempt, *, resumed: bool) -> tuple[Attempt, RailAnswer]:
        """Give an order that has only one rail: unknown is asked, not attempted is tried again."""
        for pause in (*policies.NOT_ATTEMPTED_PAUSES, None):
            request = charge_states.rail_request(self._charge, attempt, resumed=resumed)
            attempt, answer = await give_order(request, attempt, report=self._report_waiting, mailbox=self._mailbox)
            if answer.outcome is not Outcome.NOT_ATTEMPTED or pause is None:
                return attempt, answer
            await workflow.sleep(pause)
            again = renumbered(attempt)
            resumed = await self._commit(self._charge, attempts=(attempt, again))
            attempt = again
        raise AssertionError("the last pause ends the loop")

    async def _report_waiting(self, progress: InquiryProgress, attempt: Attempt) -> None:
        charge = replace(self._charge, next_check_at=progress.next_check_at, inquiries=progress.asked)
        await self._commit(charge, attempts=(attempt,))

    # --- committing ---

    async def _claim(
        self, charge: Charge, claim: KeyClaim | None, *, actor: str, attempts: tuple[Attempt, ...] = ()
    ) -> tuple[bool, bool]:
        """Commit the start of an update with its key.

        Returns whether the key belongs to something else, and whether an earlier run had committed this.
        """
        refusal, duplicate = await self._post(charge, claim=claim, actor=actor, attempts=attempts)
        assert refusal is None or refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN, refusal
        return refusal is not None, duplicate

    async def _commit(
        self,
        charge: Charge,
        *,
        event: str | None = None,
        facts: tuple[Fact, ...] = (),
        attempts: tuple[Attempt, ...] = (),
        extra: tuple[Record, ...] = (),
    ) -> bool:
        """Commit the charge's next version; True if an earlier run of this step had done so."""
        if self._exception is not None and charge.status is not ChargeStatus.UNKNOWN:
            closed = replace(self._exception, version=2, document={**self._exception.document, "status": "resolved"})
            extra, self._exception = (*extra, closed), None
        refusal, duplicate = await self._post(charge, event=event, facts=facts, attempts=attempts, extra=extra)
        assert refusal is None, refusal
        return duplicate

    async def _post(
        self,
        charge: Charge,
        *,
        event: str | None = None,
        facts: tuple[Fact, ...] = (),
        attempts: tuple[Attempt, ...] = (),
        extra: tuple[Record, ...] = (),
        claim: KeyClaim | None = None,
        actor: str | None = None,
    ) -> tuple[Refusal | None, bool]:
        version, result = await commit_next_version(
            lambda version: charge_posting(
                replace(charge, version=version),
                event=event,
                facts=facts,
                attempts=attempts,
                extra=extra,
                claim=claim,
                actor=actor or self._start.actor,
            ),
            object_id=charge.id,
            version=self._charge.version,
            open_statuses=charge_states.OPEN_STATUSES,
        )
        if result.refusal is None:
            self._charge = replace(charge, version=version)
            self._show()
        return result.refusal, result.duplicate

    def _show(self) -> None:
        """Keep the Temporal UI's list and detail page in step with the charge."""
        charge = self._charge
        if charge.status is ChargeStatus.PROCESSING:
            return
        shown = [search_attributes.STATUS.value_set(charge.status.value)]
        if charge.rail is not None:
            shown.append(search_attributes.RAIL.value_set(charge.rail))
        if charge.risk is not None:
            shown.append(search_attributes.RISK_DECISION.value_set(charge.risk.decision.value))
        workflow.upsert_search_attributes(shown)
        workflow.set_current_details(charge_states.describe(charge))
