"""What rails tell a running workflow: in any order, as often as they like; and rails that take their time."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from domain.rail import DeclineClass, Outcome, RailAnswer, RailPace, RailRequest
from tests.workflows.conftest import World
from tests.workflows.fakes import UNKNOWN, approve, decline
from tests.workflows.test_refund_payout_transfer import PENDING, payout, refund
from workflows.payout import PayoutWorkflow
from workflows.policies import BACKGROUND_QUEUE, INQUIRY_DAILY_SECONDS, PAYMENTS_QUEUE
from workflows.ports import NoticePort
from workflows.rail_inbox import RailInboxWorkflow
from workflows.rail_notices import HearsRails, RailMailbox, RailNews
from workflows.refund import RefundWorkflow

HOUR = 3600.0
BANK = RailPace(deadline_seconds=30.0, inquiry_delays_seconds=(HOUR, 24 * HOUR, 72 * HOUR))
YES = RailAnswer(outcome=Outcome.APPROVED, rail_reference="told")


async def start(world: World, workflow_run: Any, argument: Any) -> WorkflowHandle[Any, Any]:
    return await world.client.start_workflow(workflow_run, argument, id=uuid.uuid4().hex, task_queue=PAYMENTS_QUEUE)


async def tell(handle: WorkflowHandle[Any, Any], rail_key: str, answer: RailAnswer | None, event: str = "e1") -> None:
    await handle.signal(HearsRails.rail_told, RailNews(rail_key=rail_key, event_id=event, answer=answer))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_pending_refund_ends_with_what_the_rail_tells(world: World) -> None:
    world.rails.script = lambda request, call: PENDING
    world.rails.inquiry_script = lambda inquiry, call: PENDING
    handle = await start(world, RefundWorkflow.run, refund())
    await until(lambda: "refund.pending" in world.book.events())
    await tell(handle, "re_1:1", YES)
    await tell(handle, "re_1:1", decline(DeclineClass.HARD), "e2")  # contradicts the first: too late
    assert (await handle.result())["status"] == "succeeded"
    assert world.book.facts() == ["refund_reserved", "refund_succeeded"]


async def test_a_notice_that_comes_before_the_answer_is_not_lost(world: World) -> None:
    world.rails.script = lambda request, call: UNKNOWN
    handle = await world.client.start_workflow(
        PayoutWorkflow.run,
        payout(),
        id=uuid.uuid4().hex,
        task_queue=PAYMENTS_QUEUE,
        start_signal="rail_told",
        start_signal_args=[RailNews(rail_key="po_1:1", event_id="e1", answer=YES)],
    )
    assert (await handle.result())["status"] == "paid"
    assert world.rails.questions == []


async def test_a_notice_about_another_order_changes_nothing(world: World) -> None:
    world.rails.script = lambda request, call: PENDING
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.HARD) if call == 2 else PENDING
    handle = await start(world, RefundWorkflow.run, refund())
    await tell(handle, "re_1:2", YES)
    await tell(handle, "re_2:1", YES, "e2")
    assert (await handle.result())["status"] == "failed"


async def test_news_without_an_answer_brings_the_question_forward_and_spares_the_schedule(world: World) -> None:
    world.rails.script = lambda request, call: PENDING if request.deadline_seconds > 5 else slow(request)
    world.rails.inquiry_script = lambda inquiry, call: YES if call == 7 else RailAnswer(outcome=Outcome.PENDING)
    handle = await start(world, PayoutWorkflow.run, payout())
    await until(lambda: "po_1" in world.book.documents and bool(world.book.documents["po_1"].get("next_check_at")))
    for number in range(7):
        await tell(handle, "po_1:1", None, f"e{number}")
        await tell(handle, "po_1:1", None, f"e{number}")  # a repeated notice is one
        await until(lambda: len(world.rails.questions) > number)  # noqa: B023 - awaited within the loop
    assert (await handle.result())["status"] == "paid"
    assert len(world.rails.questions) == 7
    assert not [name for name in world.book.documents if name.startswith("exc_")]


def slow(request: RailRequest) -> RailAnswer:
    return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, pace=BANK)


async def test_a_slow_rail_gets_its_own_deadline_and_is_asked_at_its_own_pace(world: World) -> None:
    def script(request: RailRequest, call: int) -> RailAnswer:
        return slow(request) if request.deadline_seconds < 30 else RailAnswer(outcome=Outcome.PENDING, pace=BANK)

    world.rails.script = script
    world.rails.inquiry_script = lambda inquiry, call: YES if call == 4 else PENDING
    handle = await start(world, PayoutWorkflow.run, payout())
    assert (await handle.result())["status"] == "paid"
    assert [(order.rail_key, order.deadline_seconds) for order in world.rails.orders] == [
        ("po_1:1", 2.5),
        ("po_1:1", 30.0),
    ]
    assert {question.deadline_seconds for question in world.rails.questions} == {30.0}
    history = await handle.fetch_history()
    timers = [
        event.timer_started_event_attributes
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
    waits = [timer.start_to_fire_timeout.ToTimedelta().total_seconds() for timer in timers]
    assert waits == [HOUR, 24 * HOUR, 72 * HOUR, INQUIRY_DAILY_SECONDS]
    # A person is called once the rail's own time is over, not a card's.
    assert [name for name in world.book.documents if name.startswith("exc_")] == ["exc_po_1_1"]


async def test_an_order_of_an_ordinary_rail_is_given_once(world: World) -> None:
    world.rails.script = approve
    handle = await start(world, PayoutWorkflow.run, payout())
    assert (await handle.result())["status"] == "paid"
    assert len(world.rails.orders) == 1


def test_the_mailbox_keeps_the_first_definite_answer_and_counts_an_event_once() -> None:
    mailbox = RailMailbox()
    mailbox.put(RailNews(rail_key="re_1:1", event_id="a", answer=PENDING))
    assert mailbox.answer("re_1:1") is None and mailbox.worth_asking("re_1:1")
    mailbox.asked("re_1:1")
    mailbox.put(RailNews(rail_key="re_1:1", event_id="a", answer=PENDING))
    assert not mailbox.worth_asking("re_1:1")
    mailbox.put(RailNews(rail_key="re_1:1", event_id="b", answer=YES))
    mailbox.put(RailNews(rail_key="re_1:1", event_id="c", answer=decline(DeclineClass.HARD)))
    assert mailbox.answer("re_1:1") == YES


class FakeNotices(NoticePort):
    """A round with three new notices and two that were due."""

    @activity.defn(name="collect_rail_notices")
    async def collect_rail_notices(self) -> int:
        return 3

    @activity.defn(name="deliver_rail_notices")
    async def deliver_rail_notices(self) -> int:
        return 2


async def test_a_round_of_the_inbox_collects_and_delivers(world: World) -> None:
    fakes = FakeNotices()
    async with Worker(
        world.client,
        task_queue=BACKGROUND_QUEUE,
        workflows=[RailInboxWorkflow],
        activities=[fakes.collect_rail_notices, fakes.deliver_rail_notices],
    ):
        run = world.client.execute_workflow(RailInboxWorkflow.run, id="rail-inbox", task_queue=BACKGROUND_QUEUE)
        assert await run == 5
