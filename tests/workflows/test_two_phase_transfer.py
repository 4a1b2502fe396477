"""Transfers in two phases: held, then posted, voided or expired, each at most once; and reversals."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from domain.ledger import Posting, Refusal, RefusalCode
from domain.transfer import Transfer
from tests.workflows.conftest import World, claim
from tests.workflows.test_charge import status_is
from tests.workflows.test_refund_payout_transfer import COMMON, INSUFFICIENT, run
from workflows.policies import PAYMENTS_QUEUE
from workflows.transfer import TransferWorkflow
from workflows.transfer_messages import PostTransfer, StartTransfer, VoidTransfer

Handle = WorkflowHandle[Any, Any]


def two_phase(seconds: int = 3600, **changes: Any) -> StartTransfer:
    terms = {"id": "tr_1", "source": "acct_a", "destination": "acct_b", **COMMON} | changes
    one = Transfer(pending=True, expires_in_seconds=seconds, **terms)
    return StartTransfer(transfer=one, claim=claim(one.id))


def reversal(transfer_id: str = "tr_2") -> StartTransfer:
    one = Transfer(id=transfer_id, source="acct_b", destination="acct_a", reverses="tr_1", **COMMON)
    return StartTransfer(transfer=one, claim=claim(one.id, f"key {transfer_id}"))


async def held(world: World, start: StartTransfer | None = None) -> Handle:
    handle = await world.client.start_workflow(
        TransferWorkflow.run, start or two_phase(), id=uuid.uuid4().hex, task_queue=PAYMENTS_QUEUE
    )
    await status_is(world, "tr_1", "pending")
    return handle


async def post(handle: Handle, key: str, amount: int | None = None, *, final: bool = True) -> Any:
    request = PostTransfer(amount_minor=amount, final=final, claim=claim("tr_1", key))
    return await handle.execute_update(TransferWorkflow.post, request, id=key)


async def void(handle: Handle, key: str) -> Any:
    return await handle.execute_update(TransferWorkflow.void, VoidTransfer(claim=claim("tr_1", key)), id=key)


async def test_posting_in_full_settles(world: World) -> None:
    handle = await held(world)
    answer = await post(handle, "k2")
    assert answer.document["status"] == "settled" and answer.document["amount_posted"] == 5000
    assert (await handle.result())["status"] == "settled"
    assert world.book.facts() == ["transfer_held", "transfer_posted"]
    assert world.book.events() == ["transfer.pending", "transfer.posted"]
    assert world.book.postings["tr_1:2"].claim is not None


async def test_posting_in_parts_then_voiding_the_rest(world: World) -> None:
    handle = await held(world)
    assert (await post(handle, "k2", 2000, final=False)).document["status"] == "pending"
    assert (await post(handle, "k3", 4000)).conflict_code == "exceeds_pending_amount"
    answer = await void(handle, "k4")
    assert (answer.document["status"], answer.document["amount_posted"]) == ("settled", 2000)
    await handle.result()
    assert world.book.events() == ["transfer.pending", "transfer.posted", "transfer.voided"]


async def test_a_hold_expires_by_its_timer(world: World) -> None:
    """A week passes in a moment; expired once, and nothing can be done to it after."""
    handle = await held(world, two_phase(604_800))
    document = await handle.result()
    assert document["status"] == "expired"
    assert world.book.facts() == ["transfer_held", "transfer_released"]
    assert world.book.events() == ["transfer.pending", "transfer.expired"]


async def test_what_is_left_after_a_partial_post_expires(world: World) -> None:
    handle = await held(world, two_phase(60))
    await post(handle, "k2", 2000, final=False)
    document = await handle.result()
    assert (document["status"], document["amount_posted"]) == ("settled", 2000)
    assert world.book.events()[-1] == "transfer.expired"


async def test_posts_and_voids_at_once_one_wins(world: World) -> None:
    handle = await held(world)
    answers = await asyncio.gather(
        *[post(handle, f"p{n}") for n in range(3)], *[void(handle, f"v{n}") for n in range(3)]
    )
    assert [answer.conflict_code for answer in answers].count(None) == 1
    assert {answer.conflict_code for answer in answers} == {None, "transfer_state_conflict"}
    assert len(world.book.facts()) == 2


async def test_the_same_update_twice_is_one(world: World) -> None:
    handle = await held(world)
    answers = await asyncio.gather(*[post(handle, "k2", 100, final=False) for _ in range(5)])
    assert {answer.document["amount_posted"] for answer in answers} == {100}
    assert world.book.facts() == ["transfer_held", "transfer_posted"]
    await void(handle, "k3")


async def test_a_post_the_ledger_refuses_leaves_the_hold(world: World) -> None:
    """A frozen account: the hold stays, and may be posted once it is open again."""
    handle = await held(world)
    world.book.refuse = lambda posting: Refusal(code=RefusalCode.ACCOUNT_CLOSED, detail="frozen")
    assert (await post(handle, "k2")).conflict_code == "account_closed"
    world.book.refuse = lambda posting: None
    assert (await post(handle, "k3")).document["status"] == "settled"


async def test_a_key_of_something_else_is_a_conflict(world: World) -> None:
    handle = await held(world)
    world.book.refuse = lambda posting: Refusal(
        code=RefusalCode.IDEMPOTENCY_KEY_TAKEN, detail="taken", object_id="other"
    )
    assert (await post(handle, "k2")).conflict_code == "idempotency_key_reused"
    world.book.refuse = lambda posting: None
    assert (await void(handle, "k3")).document["status"] == "voided"


async def test_a_hold_beyond_the_limit_is_refused_and_remembered(world: World) -> None:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    document = await run(world, TransferWorkflow.run, two_phase())
    assert (document["status"], document["failure_code"]) == ("failed", "exceeds_available_balance")
    assert document["expires_at"] is None and world.book.facts() == []


async def test_a_run_repeated_after_a_crash_goes_on_from_what_is_stored(world: World) -> None:
    """An earlier run had posted a part as version 2; now a void comes first and must release the rest only."""
    earlier = await held(world)
    await post(earlier, "k2", 2000, final=False)
    await earlier.terminate("its workflow task is lost")
    again = await held(world)
    answer = await void(again, "k3")
    assert (answer.document["status"], answer.document["amount_posted"]) == ("settled", 2000)
    released = [fact for one in world.book.postings.values() for fact in one.facts if fact.fact == "transfer_released"]
    assert [getattr(fact, "amount_minor", None) for fact in released] == [3000]
    assert (await again.result())["posts"] == answer.document["posts"]


async def test_a_transfer_at_once_takes_no_update(world: World) -> None:
    one = Transfer(id="tr_1", source="acct_a", destination="acct_b", **COMMON)
    world.book.refuse = lambda posting: None
    handle = await world.client.start_workflow(
        TransferWorkflow.run,
        StartTransfer(transfer=one, claim=claim(one.id)),
        id=uuid.uuid4().hex,
        task_queue=PAYMENTS_QUEUE,
        start_delay=timedelta(seconds=30),
    )
    with pytest.raises(WorkflowUpdateFailedError):
        await post(handle, "k2")
    assert (await handle.result())["status"] == "settled"


async def test_a_reversal_is_one_posting_and_a_second_one_is_refused(world: World) -> None:
    document = await run(world, TransferWorkflow.run, reversal())
    assert (document["status"], document["reverses"]) == ("settled", "tr_1")
    assert world.book.facts() == ["transfer_reversed"]

    def movement_exists(posting: Posting) -> Refusal | None:
        refusal = Refusal(code=RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, detail="movement tr_1:reversal exists")
        return refusal if posting.facts else None

    world.book.refuse = movement_exists
    for _ in range(2):
        second = await run(world, TransferWorkflow.run, reversal("tr_3"))
        assert (second["status"], second["failure_code"]) == ("failed", "transfer_already_reversed")
        world.book.refuse = lambda posting: None
    assert world.book.facts() == ["transfer_reversed"]
