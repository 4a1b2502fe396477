"""How an authorization ends: captured at once or in parts, voided, or expired (semantics rules 14 to 16)."""

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.charge import ChargeStatus, charge_document
    from domain.identifiers import capture_tag
    from domain.rail import Attempt, Outcome, RailAnswer, trail_with
    from workflows import charge_states, policies
    from workflows.charge_messages import CaptureCharge, VoidCharge
    from workflows.charge_writer import ChargeWriter
    from workflows.inquiry import InquiryProgress
    from workflows.rail_orders import give_order, renumbered
    from workflows.update_answer import UpdateAnswer, key_conflict


async def await_end(writer: ChargeWriter) -> None:
    """Keep the authorization until it is captured or voided, or let it expire and release its hold."""
    assert writer.charge.capture_before is not None
    try:
        await workflow.wait_condition(
            lambda: writer.charge.status is not ChargeStatus.AUTHORIZED,
            timeout=writer.charge.capture_before - workflow.now(),
        )
    except TimeoutError:
        async with writer.lock:
            if writer.charge.status is ChargeStatus.AUTHORIZED:
                charge, facts = charge_states.released(writer.charge, ChargeStatus.EXPIRED)
                await writer.commit(charge, event="charge.expired", facts=facts)


async def capture(writer: ChargeWriter, request: CaptureCharge) -> UpdateAnswer:
    """Take money of the authorization at the rail, then post it. Captures and voids take turns."""
    async with writer.lock:
        conflict = charge_states.capture_conflict(writer.charge, request.amount_minor)
        if conflict is not None:
            return conflict
        tag = capture_tag(request.claim.key)
        attempt = charge_states.capture_attempt(writer.charge, request.amount_minor, tag)
        attempt = replace(attempt, requested_at=workflow.now())
        taken, resumed = await writer.claim(writer.charge, request.claim, actor=request.actor, attempts=(attempt,))
        if taken:
            return key_conflict()
        attempt, answer = await _insist(writer, attempt, resumed=resumed)
        if answer.outcome is not Outcome.APPROVED:
            await writer.commit(charge_states.without_waiting(writer.charge), attempts=(attempt,))
            return charge_states.conflict_answer(writer.charge, f"the rail declined the capture: {answer.decline_code}")
        charge, facts = charge_states.captured(
            writer.charge,
            writer.terms,
            attempt.amount_minor,
            final=request.final,
            final_funds=answer.final_funds,
            capture=tag,
        )
        await writer.commit(charge, event="charge.captured", facts=facts, attempts=(attempt,))
        return UpdateAnswer(document=charge_document(writer.charge))


async def void(writer: ChargeWriter, request: VoidCharge) -> UpdateAnswer:
    """Give the authorization back at the rail, then release the hold."""
    async with writer.lock:
        if writer.charge.status is not ChargeStatus.AUTHORIZED or writer.charge.amount_captured_minor:
            return charge_states.conflict_answer(writer.charge, "only an uncaptured authorization can be voided")
        attempt = replace(charge_states.void_attempt(writer.charge), requested_at=workflow.now())
        taken, resumed = await writer.claim(writer.charge, request.claim, actor=request.actor, attempts=(attempt,))
        if taken:
            return key_conflict()
        attempt, answer = await _insist(writer, attempt, resumed=resumed)
        if answer.outcome is not Outcome.APPROVED:
            await writer.commit(charge_states.without_waiting(writer.charge), attempts=(attempt,))
            return charge_states.conflict_answer(writer.charge, f"the rail declined the void: {answer.decline_code}")
        charge, facts = charge_states.released(writer.charge, ChargeStatus.VOIDED)
        await writer.commit(charge, event="charge.voided", facts=facts, attempts=(attempt,))
        return UpdateAnswer(document=charge_document(writer.charge))


async def _insist(writer: ChargeWriter, attempt: Attempt, *, resumed: bool) -> tuple[Attempt, RailAnswer]:
    """Give an order that has only one rail: unknown is asked, not attempted is tried again."""

    async def report_waiting(progress: InquiryProgress, waiting: Attempt) -> None:
        charge = replace(
            writer.charge,
            next_check_at=progress.next_check_at,
            inquiries=trail_with(writer.charge.inquiries, waiting),
        )
        extra = writer.raise_exception(waiting) if progress.exhausted else ()
        await writer.commit(charge, attempts=(waiting,), extra=extra)

    for pause in (*policies.NOT_ATTEMPTED_PAUSES, None):
        attempt, answer = await give_order(
            writer.order(attempt, resumed=resumed),
            attempt,
            report=report_waiting,
            mailbox=writer.mailbox,
            decided_by_person=lambda: writer.finding,
        )
        if answer.outcome is not Outcome.NOT_ATTEMPTED or pause is None:
            return attempt, answer
        await workflow.sleep(pause)
        again = renumbered(attempt)
        resumed = await writer.commit(writer.charge, attempts=(attempt, again))
        attempt = again
    raise AssertionError("the last pause ends the loop")
