"""The charge's story, branch by branch, in the workflow sandbox with time skipping."""

import asyncio

import pytest

from domain.rail import DeclineClass, Outcome, RailAnswer, RailRequest
from domain.risk import RiskDecision
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import NOT_ATTEMPTED, UNKNOWN, approve, decline
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import AuthenticateCharge, CaptureCharge, ResolveCharge, VoidCharge
from workflows.ports import RailInquiry


async def status_is(world: World, charge_id: str, status: str) -> None:
    """Wait, bounded, until the book shows a status."""
    for _ in range(500):
        if world.book.documents.get(charge_id, {}).get("status") == status:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{charge_id} is {world.book.documents.get(charge_id)}, not {status}")


async def test_a_sale_settles_with_one_attempt_and_fee_158(world: World) -> None:
    document = await world.run(world.charge())
    assert (document["status"], document["fee"], document["net"]) == ("settled", 158, 8262)
    assert world.book.facts() == ["charge_captured"]
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["approved"]


async def test_rule_12_soft_decline_fails_over_in_plan_order(world: World) -> None:
    world.rails.script = lambda request, call: approve(request, call) if call == 2 else decline(DeclineClass.SOFT)
    document = await world.run(world.charge())
    assert document["status"] == "settled"
    assert [order.rail for order in world.rails.orders] == ["alpha", "beta"]
    assert [order.rail_key for order in world.rails.orders] == world.book.write_ahead_keys()


async def test_failover_stops_at_the_budget_and_declines(world: World) -> None:
    world.rails.script = lambda request, call: decline(DeclineClass.SOFT, "insufficient_funds")
    document = await world.run(world.charge())
    assert (document["status"], document["decline_code"]) == ("declined", "insufficient_funds")
    assert len(world.rails.orders) == 3 and world.book.facts() == []


async def test_hard_decline_never_fails_over(world: World) -> None:
    world.rails.script = lambda request, call: decline(DeclineClass.HARD)
    document = await world.run(world.charge())
    assert document["status"] == "declined" and len(world.rails.orders) == 1


async def test_rule_12_a_forced_rail_never_fails_over(world: World) -> None:
    world.rails.script = lambda request, call: decline(DeclineClass.SOFT)
    document = await world.run(world.charge(requested_rail="alpha"))
    assert document["status"] == "declined" and len(world.rails.orders) == 1


async def test_not_attempted_fails_over(world: World) -> None:
    world.rails.script = lambda request, call: NOT_ATTEMPTED if call == 1 else approve(request, call)
    document = await world.run(world.charge())
    assert document["status"] == "settled"
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["not_attempted", "approved"]


async def test_nobody_could_be_asked_is_no_rail_available(world: World) -> None:
    world.rails.script = lambda request, call: NOT_ATTEMPTED
    document = await world.run(world.charge())
    assert (document["status"], document["decline_code"]) == ("declined", "no_rail_available")


async def test_rule_08_unknown_is_asked_and_never_failed_over(world: World) -> None:
    world.rails.script = lambda request, call: UNKNOWN
    yes = RailAnswer(outcome=Outcome.APPROVED, final_funds=True)
    world.rails.inquiry_script = lambda inquiry, call: yes if call == 3 else UNKNOWN
    document = await world.run(world.charge())
    assert document["status"] == "settled"
    assert len(world.rails.orders) == 1 and len(world.rails.questions) == 3
    assert world.book.facts() == ["charge_captured"]
    assert "charge.unknown" in world.book.events()


async def test_unknown_then_declined_is_declined_without_another_rail(world: World) -> None:
    world.rails.script = lambda request, call: UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.SOFT)
    document = await world.run(world.charge())
    assert document["status"] == "declined" and len(world.rails.orders) == 1


async def test_an_unknown_that_never_resolves_raises_an_exception_and_a_person_ends_it(world: World) -> None:
    world.rails.script = lambda request, call: UNKNOWN

    def silent(inquiry: RailInquiry, call: int) -> RailAnswer:
        return UNKNOWN

    world.rails.inquiry_script = silent
    charge = world.charge()
    handle = await world.start(charge)
    await world.environment.sleep(3600)
    exception_id = f"exc_{charge.id}_1"
    assert world.book.documents[charge.id]["status"] == "unknown"
    assert world.book.documents[exception_id]["status"] == "open"
    answer = await handle.execute_update(
        ChargeWorkflow.resolve,
        ResolveCharge(outcome="declined", actor="ak_1", note="acquirer's log", claim=claim(charge.id, "k2")),
    )
    assert answer.document is not None and answer.document["status"] == "declined"
    assert (await handle.result())["status"] == "declined"
    assert world.book.documents[exception_id]["status"] == "resolved"
    assert world.book.facts() == []


async def test_risk_block_asks_no_rail(world: World) -> None:
    world.assessment.decision = RiskDecision.BLOCK
    document = await world.run(world.charge())
    assert (document["status"], document["decline_code"]) == ("declined", "blocked_by_risk")
    assert world.rails.orders == []


async def test_risk_step_up_waits_and_authorizes_with_the_authentication(world: World) -> None:
    world.assessment.decision = RiskDecision.STEP_UP
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "requires_action")
    assert world.rails.orders == []
    answer = await handle.execute_update(
        ChargeWorkflow.authenticate,
        AuthenticateCharge(result="success", evidence={"eci": "05"}, claim=claim(charge.id, "k2")),
    )
    assert answer.document is not None and answer.document["status"] == "settled"
    assert world.rails.orders[0].authentication == {"eci": "05", "result": "success"}


async def test_issuer_step_up_reauthorizes_on_the_same_rail(world: World) -> None:
    def script(request: RailRequest, call: int) -> RailAnswer:
        return approve(request, call) if request.authentication else decline(DeclineClass.SCA_REQUIRED)

    world.rails.script = script
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "requires_action")
    await handle.execute_update(
        ChargeWorkflow.authenticate, AuthenticateCharge(result="success", evidence={}, claim=claim(charge.id, "k2"))
    )
    document = await handle.result()
    assert document["status"] == "settled"
    assert [order.rail for order in world.rails.orders] == ["alpha", "alpha"]


@pytest.mark.parametrize("abandoned", [True, False])
async def test_no_authentication_is_a_decline(world: World, abandoned: bool) -> None:
    world.assessment.decision = RiskDecision.STEP_UP
    charge = world.charge()
    handle = await world.start(charge)
    await status_is(world, charge.id, "requires_action")
    if not abandoned:
        await handle.execute_update(
            ChargeWorkflow.authenticate, AuthenticateCharge(result="failure", evidence={}, claim=claim(charge.id, "k2"))
        )
    document = await handle.result()
    expected = "authentication_timeout" if abandoned else "authentication_failed"
    assert (document["status"], document["decline_code"]) == ("declined", expected)
    assert world.rails.orders == []


async def test_rule_15_partial_captures_add_up_and_the_last_is_final(world: World) -> None:
    charge = world.charge(capture=False)
    handle = await world.start(charge)
    await status_is(world, charge.id, "authorized")
    first = await handle.execute_update(
        ChargeWorkflow.capture, CaptureCharge(amount_minor=3000, final=False, claim=claim(charge.id, "k2"))
    )
    assert first.document is not None and first.document["status"] == "authorized"
    too_much = await handle.execute_update(
        ChargeWorkflow.capture, CaptureCharge(amount_minor=6000, final=True, claim=claim(charge.id, "k3"))
    )
    assert (too_much.conflict_code, too_much.remaining_minor) == ("exceeds_authorized_amount", 5420)
    await handle.execute_update(
        ChargeWorkflow.capture, CaptureCharge(amount_minor=None, final=True, claim=claim(charge.id, "k4"))
    )
    document = await handle.result()
    assert (document["status"], document["amount_captured"]) == ("settled", 8420)
    assert world.book.facts() == ["charge_authorized", "charge_captured", "charge_captured"]


async def test_rule_16_capture_racing_void_has_exactly_one_winner(world: World) -> None:
    charge = world.charge(capture=False)
    handle = await world.start(charge)
    await status_is(world, charge.id, "authorized")
    capture, void = await asyncio.gather(
        handle.execute_update(
            ChargeWorkflow.capture, CaptureCharge(amount_minor=None, final=True, claim=claim(charge.id, "k2"))
        ),
        handle.execute_update(ChargeWorkflow.void, VoidCharge(claim=claim(charge.id, "k3"))),
        return_exceptions=True,
    )
    wins = [
        answer for answer in (capture, void) if not isinstance(answer, BaseException) and answer.conflict_code is None
    ]
    assert len(wins) == 1
    assert (await handle.result())["status"] in ("settled", "voided")


async def test_rule_14_an_authorization_expires_and_releases_the_hold(world: World) -> None:
    document = await world.run(world.charge(capture=False))
    assert document["status"] == "expired"
    assert world.book.facts() == ["charge_authorized", "charge_released"]
