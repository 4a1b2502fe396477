"""An order to one rail, carried to a definite answer: unknown is asked, for as long as it takes."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.identifiers import Mode, rail_key
    from domain.rail import Attempt, Outcome, RailAnswer, RailRequest
    from workflows import effects, failover
    from workflows.inquiry import Finding, InquiryProgress, resolve_by_inquiry
    from workflows.ports import INQUIRY_SECONDS, RailInquiry
    from workflows.rail_notices import RailMailbox


def renumbered(attempt: Attempt, rail: str | None = None) -> Attempt:
    """Return the operation's next attempt, fit only after a definite no; on another rail if named."""
    number = attempt.number + 1
    return replace(
        attempt,
        number=number,
        rail=rail or attempt.rail,
        rail_key=rail_key(attempt.operation_id, number),
        outcome=Outcome.SENT,
        latency_ms=None,
        decline_code=None,
        decline_class=None,
        retry_after_seconds=None,
        rail_reference=None,
        inquiries=(),
        reason=f"{attempt.rail} said {attempt.decline_code or attempt.outcome}",
        requested_at=workflow.now(),
    )


async def give_order(
    request: RailRequest,
    attempt: Attempt,
    *,
    report: Callable[[InquiryProgress, Attempt], Awaitable[None]],
    mailbox: RailMailbox,
    decided_by_person: Callable[[], Finding | None] = lambda: None,
) -> tuple[Attempt, RailAnswer]:
    """Return the attempt with its definite answer, however long the rail takes to tell.

    What was asked and answered on the way is on the attempt, here and at each `report`. `mailbox` is where the
    workflow hears of the rail's own notices.
    """
    answer = await effects.attempt(request)
    if answer.outcome in (Outcome.UNKNOWN, Outcome.PENDING):
        waiting = failover.with_answer(attempt, answer)

        async def report_waiting(progress: InquiryProgress) -> None:
            await report(progress, replace(waiting, inquiries=progress.asked))

        question = RailInquiry(
            rail=attempt.rail,
            flow=attempt.flow,
            rail_key=attempt.rail_key,
            sent_at=attempt.requested_at or workflow.now(),
            mode=request.mode,
            deadline_seconds=INQUIRY_SECONDS if answer.pace is None else answer.pace.deadline_seconds,
        )
        resolution = await resolve_by_inquiry(
            question,
            Mode(request.mode),
            report=report_waiting,
            decided_by_person=decided_by_person,
            mailbox=mailbox,
            pace=answer.pace,
        )
        answer, attempt = resolution.answer, replace(attempt, inquiries=resolution.asked)
    return failover.with_answer(attempt, answer), answer
