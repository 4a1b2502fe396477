"""Rules of a charge's attempts: how often a card is tried, for how long, with which authentication."""

from dataclasses import replace
from typing import Any

from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from domain.risk import RiskDecision
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import UNKNOWN, approve, decline
from tests.workflows.test_charge import status_is
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import AuthenticateCharge, CaptureCharge

PROOF = {"eci": "05", "cavv": "proof", "version": "2.2.0", "result": "success"}


def sca_until_authenticated(request: RailRequest, call: int) -> RailAnswer:
    """The issuer wants the customer authenticated."""
    proven = request.authentication is not None and request.authentication.get("result") == "success"
    return approve(request, call) if proven else decline(DeclineClass.SCA_REQUIRED, "authentication_required")


async def test_rule_06_each_attempt_has_its_own_key_and_every_resend_the_same(world: World) -> None:
    """A new number only after a definite no; what is unclear is asked about under the key it was sent with."""
    yes = RailAnswer(outcome=Outcome.APPROVED, final_funds=True)
    world.rails.script = lambda request, call: decline(DeclineClass.SOFT) if call == 1 else UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: yes if call == 2 else UNKNOWN
    charge = world.charge()
    await world.run(charge)
    assert [order.rail_key for order in world.rails.orders] == [f"{charge.id}:1", f"{charge.id}:2"]
    assert world.book.write_ahead_keys() == [f"{charge.id}:1", f"{charge.id}:2"]
    assert [question.rail_key for question in world.rails.questions] == [f"{charge.id}:2"] * 2


async def test_rule_11_no_attempt_is_made_beyond_the_schemes_limit(world: World) -> None:
    world.assessment.tries_left = 0
    document = await world.run(world.charge())
    assert (document["status"], document["decline_code"]) == ("declined", "card_retry_limit_reached")
    assert document["decline_class"] == "try_later" and world.rails.orders == []


async def test_rule_11_failover_stops_at_the_schemes_limit(world: World) -> None:
    world.assessment.tries_left = 2
    world.rails.script = lambda request, call: decline(DeclineClass.SOFT, "insufficient_funds")
    document = await world.run(world.charge())
    assert (document["decline_code"], len(document["attempts"])) == ("insufficient_funds", 2)


async def test_rule_12_failover_ends_when_the_rails_have_used_up_its_time(world: World) -> None:
    def slow(request: RailRequest, call: int) -> RailAnswer:
        return replace(decline(DeclineClass.SOFT), latency_ms=3_100.0)

    world.rails.script = slow
    document = await world.run(world.charge())
    assert (document["status"], len(document["attempts"])) == ("declined", 2)


async def test_rule_13_a_frictionless_authentication_is_not_asked_for_again(world: World) -> None:
    world.assessment.decision = RiskDecision.STEP_UP
    world.rails.script = sca_until_authenticated
    document = await world.run(world.charge(authentication=PROOF))
    assert document["status"] == "settled" and "charge.requires_action" not in world.book.events()
    assert [order.authentication for order in world.rails.orders] == [PROOF]
    assert document["authentication"] == {"eci": "05", "version": "2.2.0", "result": "success"}, "never the proof"


async def test_rule_13_an_exemption_goes_to_the_rail_and_gives_way_to_a_challenge(world: World) -> None:
    world.rails.script = sca_until_authenticated
    exemption = {"exemption": "low_value"}
    charge = world.charge(authentication=exemption)
    handle = await world.start(charge)
    await status_is(world, charge.id, "requires_action")
    passed = AuthenticateCharge(result="success", evidence={"eci": "05"}, claim=claim(charge.id, "k2"))
    await handle.execute_update(ChargeWorkflow.authenticate, passed)
    document: dict[str, Any] = await handle.result()
    assert document["status"] == "settled"
    told = [order.authentication for order in world.rails.orders]
    assert told == [exemption, {"eci": "05", "result": "success"}]
    assert document["authentication"] == {"eci": "05", "result": "success"}


async def test_rule_09_a_step_run_a_third_time_finds_where_the_second_committed_it(world: World) -> None:
    """The first run reported that it waits, the second captured after that, and both died before Temporal knew."""
    charge = world.charge(capture=False)
    name = charge.id

    def with_two_lives_before(request: RailRequest, call: int) -> RailAnswer:
        if request.flow is Flow.CAPTURE:
            begun = world.book.postings[f"{name}:3"]
            world.book.postings[f"{name}:4"] = replace(begun, key=f"{name}:4")
            ends = {name: "settled", request.rail_key: "approved"}
            ended = tuple(
                replace(one, version=5, document={**one.document, "status": ends[one.id]}) for one in begun.records
            )
            world.book.postings[f"{name}:5"] = replace(begun, key=f"{name}:5", records=ended)
            world.book.documents[name] = ended[0].document
        return approve(request, call)

    world.rails.script = with_two_lives_before
    handle = await world.start(charge)
    await status_is(world, name, "authorized")
    order = CaptureCharge(amount_minor=None, final=True, claim=claim(name, "capture"))
    answer = await handle.execute_update(ChargeWorkflow.capture, order, id="capture")
    assert answer.document is not None and answer.document["status"] == "settled"
    assert (await handle.result())["amount_captured"] == charge.amount_minor
    assert f"{name}:6" not in world.book.postings
