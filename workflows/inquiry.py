"""Unknown outcomes: ask the rail on a schedule, keep the evidence, never guess (semantics rule 8)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.identifiers import Mode
    from domain.rail import DEFINITE_OUTCOMES, RailAnswer
    from domain.timestamps import rfc3339
    from workflows import effects
    from workflows.policies import inquiry_delays
    from workflows.ports import RailInquiry

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
) -> RailAnswer:
    """Return the definite answer, however long it takes: the rail's own, or a person's with evidence.

    `report` commits each step of the asking to the object, so that people see when and what was asked.
    """
    asked: tuple[Evidence, ...] = ()
    exhausted = False
    for delay_seconds, last_of_budget in inquiry_delays(mode):
        next_check_at = workflow.now() + timedelta(seconds=delay_seconds)
        await report(InquiryProgress(next_check_at=next_check_at, asked=asked, exhausted=exhausted))
        try:
            await workflow.wait_condition(lambda: decided_by_person() is not None, timeout=delay_seconds)
        except TimeoutError:
            answer = await effects.inquire(question)
        else:
            decision = decided_by_person()
            assert decision is not None
            return decision
        asked = (*asked, _evidence(answer))
        if answer.outcome in DEFINITE_OUTCOMES:
            return answer
        exhausted = exhausted or last_of_budget
    raise AssertionError("the schedule of inquiries has no end")


def _evidence(answer: RailAnswer) -> Evidence:
    asked_at = rfc3339(workflow.now())
    assert asked_at is not None
    return {"asked_at": asked_at, "answered": answer.outcome.value, "detail": answer.detail or ""}
