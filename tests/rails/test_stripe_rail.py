"""Stripe's connector before two counterparts nobody here wrote: one charge for each order, whatever breaks."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from domain.rail import DeclineClass, Flow, Outcome, RailRequest
from rails.contract import AFTER_SENDING, BEFORE_EFFECT, CONTRACT, RailBench
from rails.faulty_path import FaultyPath
from tests.rails.stripe_bench import SOURCES, StripeBench
from tests.rails.stripe_peers import StripePeer, localstripe, stateful_mock

PEERS = ("localstripe", "stripe-stateful-mock")


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StripePeer]]:
    folder = tmp_path_factory.mktemp("stripe")
    with ExitStack() as stack:
        started = [stack.enter_context(localstripe(folder)), stack.enter_context(stateful_mock(folder))]
        yield {peer.name: peer for peer in started}


@pytest.fixture(params=PEERS)
async def bench(
    request: pytest.FixtureRequest, peers: dict[str, StripePeer], tmp_path: Path
) -> AsyncIterator[StripeBench]:
    path = FaultyPath(peers[request.param].url)
    await path.start()
    bench = StripeBench(peers[request.param], path, tmp_path)
    yield bench
    await bench.adapter.aclose()
    await path.stop()


def only(peer: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bench", [peer], indirect=True)


def follow(bench: StripeBench, original: RailRequest, flow: Flow, amount_minor: int, **fields: object) -> RailRequest:
    number = fields.pop("number", 1)
    return bench.order(
        flow=flow,
        rail_key=f"{original.rail_key.rpartition(':')[0]}.{flow}{number}:1",
        source=None,
        capture=False,
        amount_minor=amount_minor,
        original_rail_key=original.rail_key,
        **fields,
    )


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
async def test_stripe_keeps_contract(bench: StripeBench, rule: Callable[[RailBench], Awaitable[None]]) -> None:
    await rule(bench)


async def test_a_charge_is_captured_in_part_and_refunded_within_what_was_taken(bench: StripeBench) -> None:
    held = bench.order(capture=False)
    assert (await bench.run(held)).outcome is Outcome.APPROVED
    capture = follow(bench, held, Flow.CAPTURE, 5000)
    taken = await bench.run(capture)
    assert taken.outcome is Outcome.APPROVED and taken.latency_ms > 0
    assert (await bench.run(capture)).outcome is Outcome.APPROVED  # told again: the same capture
    other = await bench.run(follow(bench, held, Flow.CAPTURE, 3420, number=2))
    assert (other.outcome, other.decline_class) == (Outcome.DECLINED, DeclineClass.HARD)
    assert (await bench.run(follow(bench, held, Flow.VOID, 8420))).outcome is Outcome.DECLINED
    refunds = [follow(bench, held, Flow.REFUND, amount, number=n) for n, amount in enumerate((3000, 2000, 1), 1)]
    outcomes = [(await bench.run(refund)).outcome for refund in refunds]
    assert outcomes == [Outcome.APPROVED, Outcome.APPROVED, Outcome.DECLINED]
    for refund, count in zip(refunds, (1, 1, 0), strict=True):
        assert len(bench.peer.refunds_under(refund.rail_key)) == count


async def test_an_authorization_is_given_back_once(bench: StripeBench) -> None:
    held = bench.order(capture=False)
    await bench.run(held)
    void = follow(bench, held, Flow.VOID, 8420)
    assert [(await bench.run(void)).outcome for _ in range(2)] == [Outcome.APPROVED, Outcome.APPROVED]
    assert (await bench.ask(void)).outcome is Outcome.APPROVED
    capture = await bench.run(follow(bench, held, Flow.CAPTURE, 8420))
    assert (capture.outcome, capture.decline_class) == (Outcome.DECLINED, DeclineClass.HARD)


@pytest.mark.parametrize("kind", AFTER_SENDING)
async def test_lost_answers_of_what_follows_are_found_by_asking(bench: StripeBench, kind: str) -> None:
    held = bench.order(capture=False)
    await bench.run(held)
    for request in (follow(bench, held, Flow.CAPTURE, 8420), follow(bench, held, Flow.REFUND, 420)):
        path = bench.path
        path.only = b"amount"  # the order itself, not the questions around it
        await path.break_next(kind)  # type: ignore[arg-type]
        answer = await bench.run(request)
        if answer.outcome is Outcome.UNKNOWN:
            answer = await bench.ask(request)
        assert answer.outcome is Outcome.APPROVED, (request.flow, answer)
    assert len(bench.peer.refunds_under(request.rail_key)) == 1


async def test_an_order_whose_worker_died_is_found_not_sent_again(bench: StripeBench, tmp_path: Path) -> None:
    sale = bench.order()
    await bench.path.break_next("drop_after")
    assert (await bench.run(sale)).outcome is Outcome.UNKNOWN
    heir = StripeBench(bench.peer, bench.path, tmp_path, records=bench.records)
    resumed = heir.order(rail_key=sale.rail_key, resumed=True)
    assert (await heir.run(resumed)).outcome is Outcome.APPROVED
    assert len(bench.peer.made_under(sale.rail_key)) == 1
    refund = follow(heir, sale, Flow.REFUND, 8420)
    await heir.path.break_next("drop_before")
    assert (await heir.run(refund)).outcome in (Outcome.UNKNOWN, Outcome.NOT_ATTEMPTED)
    again = follow(heir, sale, Flow.REFUND, 8420, resumed=True)
    answer = await heir.run(again)
    # Where re-sending is safe it is sent; where not, nobody guesses whether it is still under way.
    assert answer.outcome is (Outcome.APPROVED if bench.peer.idempotent else Outcome.UNKNOWN)
    assert len(bench.peer.refunds_under(refund.rail_key)) == (1 if bench.peer.idempotent else 0)
    await heir.adapter.aclose()


async def test_a_storm_of_faults_charges_and_refunds_each_order_at_most_once(bench: StripeBench) -> None:
    seed = random.Random(f"stripe/{bench.peer.name}")
    kinds = (*AFTER_SENDING, *BEFORE_EFFECT, "refuse", None, None)
    orders = [bench.order() for _ in range(14)]
    known: dict[str, Outcome] = {}
    for order in orders:
        kind = seed.choice(kinds)
        if kind is not None:
            await bench.path.break_next(kind)  # type: ignore[arg-type]
        answer = await bench.run(order)
        for _ in range(seed.randint(1, 3)):  # workers that die and come again
            if answer.outcome is Outcome.UNKNOWN:
                answer = await bench.run(bench.order(rail_key=order.rail_key, resumed=True))
        known[order.rail_key] = answer.outcome
    listed = Counter(one["metadata"].get("rail_key") for one in bench.peer.listed(bench.peer.collection))
    for order in orders:
        made = listed[order.rail_key]
        assert made <= 1
        if known[order.rail_key] is Outcome.APPROVED:
            assert made == 1
        elif known[order.rail_key] is Outcome.NOT_ATTEMPTED:
            assert made == 0
    assert list(known.values()).count(Outcome.APPROVED) >= 5


async def test_many_at_once_are_one_each(bench: StripeBench) -> None:
    orders = [bench.order() for _ in range(12)]
    answers = await asyncio.gather(*(bench.adapter.execute(order, None) for order in orders))
    assert {answer.outcome for answer in answers} == {Outcome.APPROVED}
    assert len({answer.rail_reference for answer in answers}) == 12


@only("localstripe")
async def test_a_customers_step_is_a_decline_that_asks_for_one_and_never_a_charge(bench: StripeBench) -> None:
    card = {"number": "4000002500003155", "exp_month": 12, "exp_year": 2030, "cvc": "123"}
    fields = {"type": "card", **{f"card[{name}]": str(value) for name, value in card.items()}}
    method = bench.peer.call("POST", "/v1/payment_methods", data=fields).json()["id"]
    order = bench.order(source=method)
    answer = await bench.run(order)
    assert (answer.outcome, answer.decline_class) == (Outcome.DECLINED, DeclineClass.SCA_REQUIRED)
    (intent,) = bench.peer.made_under(order.rail_key)
    assert intent["status"] == "canceled" and intent["latest_charge"] is None
    # The answer to the cancellation is lost too: then asking cancels, and only then is it definite.
    second = bench.order(source=method)
    await bench.path.break_next("drop_after")
    assert (await bench.run(second)).outcome is Outcome.UNKNOWN
    told = await bench.ask(second)
    assert (told.outcome, told.decline_class) == (Outcome.DECLINED, DeclineClass.SCA_REQUIRED)
    (intent,) = bench.peer.made_under(second.rail_key)
    assert intent["status"] == "canceled"


@only("stripe-stateful-mock")
async def test_codes_of_a_bank_say_what_is_permitted(bench: StripeBench) -> None:
    for source, code, permitted in (
        ("tok_chargeDeclinedExpiredCard", "expired_card", DeclineClass.DATA_FIX),
        ("tok_chargeDeclinedIncorrectCvc", "incorrect_cvc", DeclineClass.DATA_FIX),
        ("tok_chargeDeclinedProcessingError", "processing_error", DeclineClass.SOFT),
        ("tok_chargeDeclined", "generic_decline", DeclineClass.SOFT),
    ):
        answer = await bench.run(bench.order(source=source))
        assert (answer.outcome, answer.decline_code, answer.decline_class) == (Outcome.DECLINED, code, permitted)


@only("stripe-stateful-mock")
async def test_turned_away_is_not_attempted_and_an_error_of_the_server_is_unknown(bench: StripeBench) -> None:
    assert (await bench.run(bench.order(source="tok_429"))).outcome is Outcome.NOT_ATTEMPTED
    broken = bench.order(source="tok_500")
    assert (await bench.run(broken)).outcome is Outcome.UNKNOWN
    assert (await bench.ask(broken)).outcome is Outcome.UNKNOWN
    assert bench.peer.made_under(broken.rail_key) == []
    await bench.run(bench.order(rail_key=broken.rail_key, source=SOURCES["charges"]["approved"]))
    other = await bench.run(bench.order(rail_key=broken.rail_key, source="tok_visa", amount_minor=1))
    assert other.outcome is Outcome.UNKNOWN  # the key was used for another order
    assert len(bench.peer.made_under(broken.rail_key)) <= 1


@only("stripe-stateful-mock")
async def test_a_charge_the_rail_forgot_is_never_made_twice(bench: StripeBench) -> None:
    order = bench.order(source="tok_forget")
    answer = await bench.run(order)
    assert answer.outcome is Outcome.APPROVED
    refund = await bench.run(follow(bench, order, Flow.REFUND, 8420))
    assert (refund.outcome, refund.decline_class) == (Outcome.DECLINED, DeclineClass.HARD)
    # Its answer is lost as well: the list does not know it, and asking says so instead of guessing.
    lost = bench.order(source="tok_forget")
    await bench.path.break_next("drop_after")
    assert (await bench.run(lost)).outcome is Outcome.UNKNOWN
    assert (await bench.ask(lost, sent_ago_seconds=864_000)).outcome is Outcome.UNKNOWN
    again = await bench.run(bench.order(rail_key=lost.rail_key, source="tok_forget", resumed=True))
    assert again.outcome is Outcome.APPROVED  # the counterpart's own memory of the key, not a second charge
    assert bench.peer.made_under(lost.rail_key) == []
