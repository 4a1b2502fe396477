"""Unknown is asked, never guessed; what was asked and answered stays on the object (semantics rule 8)."""

from typing import Any

import pytest

from domain.rail import DeclineClass, Outcome, RailAnswer
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import UNKNOWN, decline
from tests.workflows.test_charge import status_is
from tests.workflows.test_refund_payout_transfer import payout, refund
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import ResolveCharge
from workflows.payout import PayoutWorkflow
from workflows.policies import PAYMENTS_QUEUE
from workflows.refund import RefundWorkflow

YES = RailAnswer(outcome=Outcome.APPROVED, final_funds=True)


def trail(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Who was asked and what was answered, in order."""
    return [(one["asked_of"], one["by"], one["answered"]) for one in document["unknown"]["inquiries"]]


async def test_rule_08_unknown_is_asked_and_the_evidence_stays_on_the_charge(world: World) -> None:
    world.rails.script = lambda request, call: UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: YES if call == 3 else UNKNOWN
    document = await world.run(world.charge())
    assert (document["status"], document["next_check_at"]) == ("settled", None)
    assert len(world.rails.orders) == 1, "unknown never fails over"
    assert trail(document) == [
        ("rail", "alpha", "unknown"),
        ("rail", "alpha", "unknown"),
        ("rail", "alpha", "approved"),
    ]
    instants = [one["asked_at"] for one in document["unknown"]["inquiries"]]
    assert instants == sorted(instants) and all(
        one["rail_key"] == f"{document['id']}:1" for one in document["unknown"]["inquiries"]
    )


async def test_rule_08_a_persons_finding_keeps_its_evidence(world: World) -> None:
    world.rails.script = lambda request, call: UNKNOWN
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "unknown")
    finding = ResolveCharge(
        outcome="declined", actor="ak_1", note="acquirer's log, 3 May", claim=claim(charge.id, "k2")
    )
    await handle.execute_update(ChargeWorkflow.resolve, finding)
    document = await handle.result()
    assert document["status"] == "declined"
    assert trail(document)[-1] == ("person", "ak_1", "declined")
    assert document["unknown"]["inquiries"][-1]["evidence"] == "acquirer's log, 3 May"


@pytest.mark.parametrize("kind", ["refund", "payout"])
async def test_rule_08_refunds_and_payouts_keep_the_same_trail(world: World, kind: str) -> None:
    world.rails.script = lambda request, call: UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.HARD) if call == 2 else UNKNOWN
    workflow_run, start = (RefundWorkflow.run, refund()) if kind == "refund" else (PayoutWorkflow.run, payout())
    document: dict[str, Any] = await world.client.execute_workflow(
        workflow_run, start, id=f"unknown/{kind}", task_queue=PAYMENTS_QUEUE
    )
    assert document["status"] == "failed"
    assert [answered for _, _, answered in trail(document)] == ["unknown", "declined"]
