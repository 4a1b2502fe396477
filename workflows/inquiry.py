"""Unknown outcomes: ask the rail on a schedule, keep the evidence, never guess (semantics rule 8)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.identifiers import Mode
    from domain.rail import DEFINITE_OUTCOMES, RailAnswer, RailPace
    from domain.timestamps import rfc3339
    from workflows import effects
    from workflows.policies import inquiry_delays
    from workflows.ports import RailInquiry
    from workflows.rail_notices import RailMailbox

Evidence = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class InquiryProgress:
    """Where the asking stands before the next question.

    `exhausted`: the schedule's budget is spent, a person must look; the daily question goes on.
    """

    next_check_at: datetime
    asked: tuple[Evidence, ...]
    exhausted: bool


async def resolve_by_inquiry(
    question: RailInquiry,
    mode: Mode,
    *,
    report: Callable[[InquiryProgress], Awaitable[None]],
    decided_by_person: Callable[[], RailAnswer | None],
    mailbox: RailMailbox,
    pace: RailPace | None = None,
) -> RailAnswer:
    """Return the definite answer, however long it takes: the rail's own, or a person's with evidence.

    The rail's own comes by asking or by a notice, whichever is first. `report` commits each step of the asking
    to the object, so that people see when and what was asked.
    """
    asked: tuple[Evidence, ...] = ()
    exhausted = False
    for delay_seconds, last_of_budget in inquiry_delays(mode, pace):
        if (told := mailbox.answer(question.rail_key)) is not None:
            return told
        next_check_at = workflow.now() + timedelta(seconds=delay_seconds)
        await report(InquiryProgress(next_check_at=next_check_at, asked=asked, exhausted=exhausted))
        due = workflow.now() + timedelta(seconds=delay_seconds)
        answer = await _wait_and_ask(question, due, decided_by_person=decided_by_person, mailbox=mailbox)
        asked = (*asked, _evidence(answer))
        if answer.outcome in DEFINITE_OUTCOMES:
            return answer
        exhausted = exhausted or last_of_budget
    raise AssertionError("the schedule of inquiries has no end")


async def _wait_and_ask(
    question: RailInquiry,
    due: datetime,
    *,
    decided_by_person: Callable[[], RailAnswer | None],
    mailbox: RailMailbox,
) -> RailAnswer:
    """Return the answer of the next check, or a definite one from a person or a notice before it is `due`.

    News without an answer brings a question forward; it doesn't use up the schedule, however often it comes.
    """

    def woken() -> bool:
        decided = decided_by_person() is not None or mailbox.answer(question.rail_key) is not None
        return decided or mailbox.worth_asking(question.rail_key)

    while True:
        try:
            await workflow.wait_condition(woken, timeout=due - workflow.now())
        except TimeoutError:
            return await effects.inquire(question)
        decision = mailbox.answer(question.rail_key) or decided_by_person()
        if decision is not None:
            return decision
        mailbox.asked(question.rail_key)
        answer = await effects.inquire(question)
        if answer.outcome in DEFINITE_OUTCOMES or workflow.now() >= due:
            return answer


def _evidence(answer: RailAnswer) -> Evidence:
    asked_at = rfc3339(workflow.now())
    assert asked_at is not None
    return {"asked_at": asked_at, "answered": answer.outcome.value, "detail": answer.detail or ""}
