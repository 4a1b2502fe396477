"""A merchant's balance too low for a refund: wait, go negative to a limit, or refuse (semantics rule 19)."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from temporalio.client import WorkflowHandle

from domain.ledger import Posting, Refusal, RefusalCode
from domain.refund_policy import OnLowBalance, RefundPolicy
from tests.workflows.conftest import World, claim
from tests.workflows.test_charge import status_is
from tests.workflows.test_refund_payout_transfer import INSUFFICIENT, refund, run
from workflows.policies import PAYMENTS_QUEUE
from workflows.refund import RefundWorkflow
from workflows.refund_messages import CancelRefund, StartRefund
from workflows.update_answer import UpdateAnswer

Handle = WorkflowHandle[Any, Any]


def with_policy(on_low_balance: OnLowBalance = OnLowBalance.WAIT, **terms: Any) -> StartRefund:
    """A refund under a merchant's policy."""
    return replace(refund(), policy=RefundPolicy(on_low_balance=on_low_balance, **terms))


def until_funded(world: World) -> Callable[[], None]:
    """Let the account be empty until the function returned is called."""
    empty = True

    def refuse(posting: Posting) -> Refusal | None:
        return INSUFFICIENT if empty and any(fact.fact == "refund_reserved" for fact in posting.facts) else None

    def fund() -> None:
        nonlocal empty
        empty = False

    world.book.refuse = refuse
    return fund


async def waiting(world: World, start: StartRefund | None = None) -> Handle:
    """A refund that waits for funds."""
    handle = await world.client.start_workflow(
        RefundWorkflow.run, start or with_policy(), id="w-refund", task_queue=PAYMENTS_QUEUE
    )
    await status_is(world, "re_1", "pending")
    assert world.book.documents["re_1"]["pending_reason"] == "awaiting_funds"
    return handle


async def test_rule_19_a_refund_waits_until_it_is_funded(world: World) -> None:
    fund = until_funded(world)
    handle = await waiting(world)
    assert world.book.facts() == [] and world.rails.orders == []
    fund()
    await handle.signal(RefundWorkflow.funds_arrived)
    document = await handle.result()
    assert (document["status"], document["pending_reason"]) == ("succeeded", None)
    assert world.book.facts() == ["refund_reserved", "refund_succeeded"]
    assert world.book.events() == ["refund.pending", "refund.succeeded"]


async def test_rule_19_nobody_needs_to_say_that_there_are_funds(world: World) -> None:
    fund = until_funded(world)
    handle = await waiting(world)
    asyncio.get_running_loop().call_later(0.3, fund)
    assert (await handle.result())["status"] == "succeeded"  # The server skips the pauses.


async def test_rule_19_a_refund_waits_only_so_long(world: World) -> None:
    until_funded(world)
    handle = await waiting(world, with_policy(wait_seconds_max=86_400))
    document = await handle.result()
    assert (document["status"], document["failure_code"]) == ("failed", "funds_did_not_come")
    assert world.book.facts() == [] and world.rails.orders == []


async def test_rule_19_a_waiting_refund_can_be_cancelled_and_a_running_one_not(world: World) -> None:
    until_funded(world)
    handle = await waiting(world)
    answer: UpdateAnswer = await handle.execute_update(
        RefundWorkflow.cancel, CancelRefund(claim=claim("re_1", "k2")), id="k2"
    )
    assert answer.document is not None and answer.document["failure_code"] == "canceled"
    assert (await handle.result())["status"] == "failed"
    assert world.book.facts() == [] and world.book.postings["re_1:2"].claim is not None


async def test_a_bound_that_was_reached_while_waiting_ends_it(world: World) -> None:
    until_funded(world)
    handle = await waiting(world)
    over = Refusal(code=RefusalCode.EXCEEDS_REFUNDABLE_AMOUNT, detail="a chargeback took it")
    world.book.refuse = lambda posting: over if posting.facts else None
    await handle.signal(RefundWorkflow.funds_arrived)
    assert (await handle.result())["failure_code"] == "exceeds_refundable_amount"
    assert world.rails.orders == []


async def test_rule_19_going_negative_states_how_far(world: World) -> None:
    start = with_policy(OnLowBalance.NEGATIVE, negative_limits={"EUR": 20_000})
    assert (await run(world, RefundWorkflow.run, start))["status"] == "succeeded"
    (reserved,) = [one for one in world.book.postings["re_1:1"].facts if one.fact == "refund_reserved"]
    assert reserved.floor_minor == -20_000


async def test_rule_19_refusing_is_remembered(world: World) -> None:
    until_funded(world)
    document = await run(world, RefundWorkflow.run, with_policy(OnLowBalance.REFUSE))
    assert (document["status"], document["failure_code"]) == ("failed", "exceeds_available_balance")


async def test_a_wait_that_was_committed_before_a_crash_is_taken_up(world: World) -> None:
    fund = until_funded(world)
    handle = await waiting(world)
    await handle.terminate()
    fund()
    document = await run(world, RefundWorkflow.run, with_policy())
    assert document["status"] == "succeeded"
    assert world.book.facts() == ["refund_reserved", "refund_succeeded"]
