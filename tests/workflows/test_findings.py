"""A person's finding ends the waiting of any order, once, and its evidence stays."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateStage

from domain.rail import Flow, RailAnswer, RailRequest
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import UNKNOWN, approve
from tests.workflows.test_charge import status_is
from tests.workflows.test_refund_payout_transfer import payout, refund
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import CaptureCharge, ResolveCharge
from workflows.findings import ResolveOrder
from workflows.payout import PayoutWorkflow
from workflows.policies import PAYMENTS_QUEUE
from workflows.refund import RefundWorkflow
from workflows.update_answer import UpdateAnswer


def silent(request: RailRequest, call: int) -> RailAnswer:
    """Do whatever, and never tell."""
    return UNKNOWN


@pytest.mark.parametrize("outcome", ["approved", "declined"])
@pytest.mark.parametrize("kind", ["refund", "payout"])
async def test_refunds_and_payouts_end_by_a_persons_finding(world: World, kind: str, outcome: str) -> None:
    """The money goes where the finding says; the second finding comes too late."""
    world.rails.script = silent
    world.rails.inquiry_script = lambda inquiry, call: UNKNOWN
    flow = RefundWorkflow if kind == "refund" else PayoutWorkflow
    run, start = (RefundWorkflow.run, refund()) if kind == "refund" else (PayoutWorkflow.run, payout())
    object_id = "re_1" if kind == "refund" else "po_1"
    handle: WorkflowHandle[Any, Any] = await world.client.start_workflow(
        run,  # type: ignore[arg-type]
        start,
        id=f"finding/{kind}",
        task_queue=PAYMENTS_QUEUE,
    )
    await status_is(world, object_id, "unknown")
    order = ResolveOrder(outcome=outcome, actor="ak_1", note="bank statement 12", claim=claim(object_id, "k2"))
    answer: UpdateAnswer = await handle.execute_update(flow.resolve, order, id="k2")
    document = await handle.result()
    ends = {"refund": {"approved": "succeeded", "declined": "failed"}, "payout": {"approved": "paid"}}
    assert document["status"] == ends[kind].get(outcome, "failed") and answer.conflict_code is None
    last = document["unknown"]["inquiries"][-1]
    assert (last["asked_of"], last["by"], last["evidence"]) == ("person", "ak_1", "bank statement 12")
    assert any(posting.claim is not None and posting.claim.key == "k2" for posting in world.book.postings.values())
    assert len(world.rails.orders) == 1


@pytest.mark.parametrize(("final", "status"), [(("alpha",), "settled"), ((), "captured")])
async def test_a_person_finds_that_money_was_taken_not_that_it_is_final(
    world: World, final: tuple[str, ...], status: str
) -> None:
    """Where funds come by file, what a person found approved still waits for them (semantics rule 28)."""
    world.rails.script = silent
    world.rails.inquiry_script = lambda inquiry, call: UNKNOWN
    world.assessment.final_on_approval = final
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "unknown")
    answer = await handle.execute_update(ChargeWorkflow.resolve, finding(charge.id), id="k2")
    assert answer.document is not None and answer.document["status"] == status


async def test_a_capture_that_nobody_tells_about_ends_by_a_persons_finding(world: World) -> None:
    """The charge stays authorized while its capture waits; the finding captures it."""
    world.rails.script = lambda request, call: UNKNOWN if request.flow is Flow.CAPTURE else approve(request, call)
    world.rails.inquiry_script = lambda inquiry, call: UNKNOWN
    charge = world.charge(capture=False)
    handle = await world.start(charge)
    await status_is(world, charge.id, "authorized")
    order = CaptureCharge(amount_minor=None, final=True, claim=claim(charge.id, "capture"))
    capturing = await handle.start_update(
        ChargeWorkflow.capture, order, id="capture", wait_for_stage=WorkflowUpdateStage.ACCEPTED
    )
    for _ in range(500):
        if world.book.documents[charge.id].get("next_check_at") is not None:
            break
        await asyncio.sleep(0.01)
    await world.environment.sleep(timedelta(hours=1))
    (exception,) = [one for one in world.book.documents.values() if one.get("object") == "exception"]
    assert (exception["status"], exception["subject"]) == ("open", charge.id), (
        "the schedule is spent: a person must look"
    )
    answer = await handle.execute_update(ChargeWorkflow.resolve, finding(charge.id), id="k2")
    assert answer.conflict_code is None, answer
    assert world.book.documents[exception["id"]]["status"] == "resolved"
    captured = await capturing.result()
    assert captured.document is not None and captured.document["amount_captured"] == charge.amount_minor


async def test_a_finding_about_what_is_not_open_is_refused(world: World) -> None:
    """Nothing waits, so there is nothing to find out."""
    charge = world.charge(capture=False)
    handle = await world.start(charge)
    await status_is(world, charge.id, "authorized")
    answer = await handle.execute_update(ChargeWorkflow.resolve, finding(charge.id), id="k2")
    assert answer.conflict_code is not None
    assert not any(posting.claim and posting.claim.key == "k2" for posting in world.book.postings.values())


def finding(charge_id: str) -> ResolveCharge:
    """Somebody looked it up: it was done."""
    return ResolveCharge(outcome="approved", actor="ak_1", note="acquirer's log", claim=claim(charge_id, "k2"))
