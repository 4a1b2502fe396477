"""A charge from assessment to settled, declined, voided or expired.

The happy path is one workflow task with three local activities: assess, attempt, post. Whatever is
slow or unclear leaves it: a customer's step (`challenge.py`), a capture later (`authorization_end.py`), an
outcome nobody knows yet (`inquiry.py`).
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.charge import ChargeStatus, charge_document
    from domain.rail import Attempt, DeclineClass, Outcome, RailAnswer, RailRequest
    from domain.risk import RiskDecision
    from workflows import authorization_end, charge_states, effects, failover
    from workflows.challenge import Challenge
    from workflows.charge_messages import (
        AuthenticateCharge,
        CaptureCharge,
        ResolveCharge,
        StartCharge,
        VoidCharge,
    )
    from workflows.charge_payout import start_charge_payout
    from workflows.charge_writer import ChargeWriter
    from workflows.committing import start_abandoned
    from workflows.inquiry import Finding, persons_finding
    from workflows.orphan import watch_for_orphan
    from workflows.ports import AssessCharge
    from workflows.rail_notices import HearsRails
    from workflows.rail_orders import give_order
    from workflows.update_answer import UpdateAnswer, key_conflict
    from workflows.versions import ASK_ON_AFTER_FINDING, FAILOVER_TIME

Document = dict[str, Any]


@workflow.defn(name="ChargeWorkflow")
class ChargeWorkflow(HearsRails):
    """One run per idempotency key; the only writer of its charge."""

    @workflow.init
    def __init__(self, start: StartCharge) -> None:
        self._writer = ChargeWriter(start.charge, actor=start.actor)
        self._mailbox = self._writer.mailbox
        self._challenge = Challenge(start.challenge_url, charge_states.frictionless(start.charge))
        self._finding: Finding | None = None

    @workflow.run
    async def run(self, start: StartCharge) -> Document:
        """Tell the story of one charge and return it as the API shows it."""
        writer = self._writer
        terms = await effects.assess_charge(AssessCharge(charge=start.charge, claim=start.claim, actor=start.actor))
        if terms.key_taken_by is not None:
            return {"object": "superseded", "key_taken_by": terms.key_taken_by}
        if terms.start_abandoned:
            raise start_abandoned(start.charge.id)
        writer.assessed(terms)
        if await self._pass_risk():
            await self._authorize()
        if writer.charge.status is ChargeStatus.AUTHORIZED:
            await authorization_end.await_end(writer)
        if writer.charge.payout is not None and writer.charge.amount_captured_minor > 0:
            await start_charge_payout(writer.charge, actor=start.actor)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return charge_document(writer.charge)

    # --- assess ---

    async def _pass_risk(self) -> bool:
        """Act on the risk decision; True when there is an attempt to be made."""
        writer, charge = self._writer, self._writer.charge
        assert charge.risk is not None, "an assessed charge has a risk decision"
        if charge.risk.decision is RiskDecision.BLOCK:
            await writer.decline("blocked_by_risk", DeclineClass.HARD)
            return False
        if not charge.route:
            await writer.decline("no_rail_available", DeclineClass.DATA_FIX)
            return False
        if not charge.attempts and not failover.may_try(charge, writer.terms.tries_left):
            await writer.decline(failover.RETRY_LIMIT_CODE, DeclineClass.TRY_LATER)
            return False
        if charge.risk.decision is RiskDecision.STEP_UP:
            # A customer whom the merchant has authenticated already is not asked a second time.
            if self._challenge.authentication is None and not await self._challenge.passed(writer):
                return False
            first = failover.new_attempt(writer.charge, charge.route[0].rail, reason="customer authenticated")
            await self._open_attempt(first)
        return True

    # --- attempt and fail over ---

    async def _authorize(self) -> None:
        """Ask rails in the order of the plan until one says yes or none may be asked any more."""
        writer = self._writer
        resumed = writer.terms.resumed
        while True:
            attempt = writer.charge.attempts[-1]
            attempt, answer = await give_order(
                self._authorization(attempt, resumed=resumed),
                attempt,
                report=writer.report_unknown,
                mailbox=self._mailbox,
                decided_by_person=lambda: self._finding,
            )
            asked = writer.charge.status is ChargeStatus.UNKNOWN
            writer.charge = charge_states.with_attempt(writer.charge, attempt)
            if answer.outcome is Outcome.APPROVED:
                await self._approve(answer)
                return
            stepping_up = answer.decline_class is DeclineClass.SCA_REQUIRED and self._challenge.authentication is None
            if stepping_up and failover.may_try(writer.charge, writer.terms.tries_left):
                if not await self._challenge.passed(writer):
                    return
                follow: Attempt | None = failover.new_attempt(
                    writer.charge, attempt.rail, reason="customer authenticated"
                )
            else:
                # An outcome learned by asking is late: the customer was told, no other rail is tried.
                follow = None if asked else self._next_attempt(answer)
            if follow is None:
                code, decline_class = charge_states.final_decline(writer.charge, answer)
                await writer.decline(code, decline_class)
                if self._finding is not None and workflow.patched(ASK_ON_AFTER_FINDING):
                    await watch_for_orphan(charge_states.possible_orphan(writer.charge, at=workflow.now()))
                return
            resumed = await self._open_attempt(follow)

    def _next_attempt(self, answer: RailAnswer) -> Attempt | None:
        terms, charge = self._writer.terms, self._writer.charge
        follow = failover.next_attempt(charge, answer, terms.attempts_max, terms.tries_left)
        if follow is not None and failover.is_out_of_time(charge) and workflow.patched(FAILOVER_TIME):
            return None
        return follow

    def _authorization(self, attempt: Attempt, *, resumed: bool) -> RailRequest:
        charge = self._writer.charge
        return charge_states.rail_request(
            charge,
            attempt,
            resumed=resumed,
            capture=charge.capture,
            authentication=self._challenge.authentication or charge_states.given_authentication(charge),
        )

    async def _open_attempt(self, attempt: Attempt) -> bool:
        """Write an attempt ahead together with the answer before it; True if it was there already."""
        attempt = replace(attempt, requested_at=workflow.now())
        previous = self._writer.charge.attempts[-1:]
        charge = replace(
            self._writer.charge,
            status=ChargeStatus.PROCESSING,
            attempts=(*self._writer.charge.attempts, attempt),
            next_action=None,
        )
        return await self._writer.commit(charge, attempts=(*previous, attempt))

    def _authorization_seconds(self) -> int:
        terms, rail = self._writer.terms, self._writer.charge.winning_attempt().rail
        return terms.authorization_windows.get(rail, terms.authorization_seconds)

    async def _approve(self, answer: RailAnswer) -> None:
        writer = self._writer
        charge, facts = charge_states.approved(
            writer.charge,
            writer.terms,
            final_funds=answer.final_funds,
            capture_before=workflow.now() + timedelta(seconds=self._authorization_seconds()),
        )
        await writer.commit(charge, event=f"charge.{charge.status}", facts=facts, attempts=charge.attempts[-1:])

    # --- updates ---

    @workflow.update(name="authenticate")
    async def authenticate(self, request: AuthenticateCharge) -> UpdateAnswer:
        """Take the result of the customer's step and answer with what came of the charge."""
        return await self._challenge.take_answer(self._writer, request)

    @workflow.update(name="resolve")
    async def resolve(self, request: ResolveCharge) -> UpdateAnswer:
        """Take a person's finding about an unknown outcome; its evidence stays on the charge and in the audit log."""
        writer = self._writer
        if not charge_states.awaits_rail(writer.charge):
            return charge_states.conflict_answer(writer.charge, "its outcome is not unknown")
        taken, _ = await writer.claim(writer.charge, request.claim, actor=f"{request.actor}: {request.note}")
        if taken:
            return key_conflict()
        final = writer.charge.attempts[-1].rail in writer.terms.final_on_approval
        finding = persons_finding(request.outcome, by=request.actor, evidence=request.note, final_funds=final)
        if writer.charge.status is ChargeStatus.UNKNOWN:
            self._finding = finding
        elif charge_states.awaits_rail(writer.charge):
            # A capture or void of the authorization waits for the rail.
            writer.finding = finding
        await workflow.wait_condition(lambda: not charge_states.awaits_rail(writer.charge))
        writer.finding = None
        return UpdateAnswer(document=charge_document(writer.charge))

    @workflow.update(name="capture")
    async def capture(self, request: CaptureCharge) -> UpdateAnswer:
        """Take money of the authorization; captures and voids take turns."""
        return await authorization_end.capture(self._writer, request)

    @workflow.update(name="void")
    async def void(self, request: VoidCharge) -> UpdateAnswer:
        """Give the authorization back."""
        return await authorization_end.void(self._writer, request)
