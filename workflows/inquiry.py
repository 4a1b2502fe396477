"""Unknown outcomes: ask the rail on a schedule, keep the evidence, never guess (semantics rule 8)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.identifiers import Mode
    from domain.inquiry import Inquiries, Inquiry, Witness
    from domain.rail import DEFINITE_OUTCOMES, DeclineClass, Outcome, RailAnswer, RailPace
    from domain.timestamps import rfc3339
    from workflows import effects
    from workflows.policies import inquiry_delays
    from workflows.ports import RailInquiry
    from workflows.rail_notices import RailMailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class InquiryProgress:
    """Where the asking stands before the next question.

    `exhausted`: the schedule's budget is spent, a person must look; the daily question goes on.
    """

    next_check_at: datetime
    asked: Inquiries
    exhausted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a person established about an order, and from what: it stands in for the rail's answer."""

    answer: RailAnswer
    by: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The definite answer to an order, and the whole trail that led to it."""

    answer: RailAnswer
    asked: Inquiries


def persons_finding(outcome: str, *, by: str, evidence: str, final_funds: bool = False) -> Finding:
    """Return a person's finding (`approved` or `declined`) as the answer the rail never gave.

    `final_funds`: the rail's approvals are final; what others approve is settled by their own word later.
    """
    if outcome == "approved":
        answer = RailAnswer(outcome=Outcome.APPROVED, final_funds=final_funds, detail=f"resolved by {by}")
    else:
        assert outcome == "declined", outcome
        answer = RailAnswer(
            outcome=Outcome.DECLINED,
            decline_code="resolved_as_declined",
            decline_class=DeclineClass.HARD,
            detail=f"resolved by {by}",
        )
    return Finding(answer=answer, by=by, evidence=evidence)


async def resolve_by_inquiry(
    question: RailInquiry,
    mode: Mode,
    *,
    report: Callable[[InquiryProgress], Awaitable[None]],
    decided_by_person: Callable[[], Finding | None],
    mailbox: RailMailbox,
    pace: RailPace | None = None,
) -> Resolution:
    """Return the definite answer, however long it takes: the rail's own, or a person's with evidence.

    The rail's own comes by asking or by a notice, whichever is first. `report` commits each step of the asking
    to the object, so that people see when and what was asked; the last question is in what is returned.
    """
    asked: Inquiries = ()
    exhausted = False
    for delay_seconds, last_of_budget in inquiry_delays(mode, pace):
        if (told := mailbox.answer(question.rail_key)) is not None:
            return Resolution(answer=told, asked=(*asked, _answered(question, told)))
        next_check_at = workflow.now() + timedelta(seconds=delay_seconds)
        await report(InquiryProgress(next_check_at=next_check_at, asked=asked, exhausted=exhausted))
        due = workflow.now() + timedelta(seconds=delay_seconds)
        answer, learned = await _wait_and_ask(question, due, decided_by_person=decided_by_person, mailbox=mailbox)
        asked = (*asked, *learned)
        if answer.outcome in DEFINITE_OUTCOMES:
            return Resolution(answer=answer, asked=asked)
        exhausted = exhausted or last_of_budget
    raise AssertionError("the schedule of inquiries has no end")


async def _wait_and_ask(
    question: RailInquiry,
    due: datetime,
    *,
    decided_by_person: Callable[[], Finding | None],
    mailbox: RailMailbox,
) -> tuple[RailAnswer, Inquiries]:
    """Return the answer of the next check, or a definite one from a person or a notice before it is `due`.

    News without an answer brings a question forward; it doesn't use up the schedule, however often it comes.
    """
    learned: Inquiries = ()

    def woken() -> bool:
        decided = decided_by_person() is not None or mailbox.answer(question.rail_key) is not None
        return decided or mailbox.worth_asking(question.rail_key)

    while True:
        try:
            await workflow.wait_condition(woken, timeout=due - workflow.now())
        except TimeoutError:
            answer = await effects.inquire(question)
            return answer, (*learned, _answered(question, answer))
        if (told := mailbox.answer(question.rail_key)) is not None:
            return told, (*learned, _answered(question, told))
        if (finding := decided_by_person()) is not None:
            return finding.answer, (*learned, _found(question, finding))
        mailbox.asked(question.rail_key)
        answer = await effects.inquire(question)
        learned = (*learned, _answered(question, answer))
        if answer.outcome in DEFINITE_OUTCOMES or workflow.now() >= due:
            return answer, learned


def _answered(question: RailInquiry, answer: RailAnswer) -> Inquiry:
    return Inquiry(
        rail_key=question.rail_key,
        rail=question.rail,
        asked_at=_now(),
        witness=Witness.RAIL,
        by=question.rail,
        answered=answer.outcome.value,
        detail=answer.detail or answer.decline_code or "",
    )


def _found(question: RailInquiry, finding: Finding) -> Inquiry:
    return Inquiry(
        rail_key=question.rail_key,
        rail=question.rail,
        asked_at=_now(),
        witness=Witness.PERSON,
        by=finding.by,
        answered=finding.answer.outcome.value,
        evidence=finding.evidence,
    )


def _now() -> str:
    written = rfc3339(workflow.now())
    assert written is not None
    return written
