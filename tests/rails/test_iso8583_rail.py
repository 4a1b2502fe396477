"""The acquirer behind ISO 8583: unanswered purchases are taken back, and nothing happens twice."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from domain.rail import DeclineClass, Flow, Outcome, RailRequest
from rails.adapters.iso8583.adapter import build
from rails.contract import CONTRACT, RailBench
from tests.rails.acquirer_process import AcquirerBench, AcquirerProcess


@pytest.fixture(scope="module")
def acquirer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcquirerProcess]:
    process = AcquirerProcess(tmp_path_factory.mktemp("acquirer"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def bench(acquirer: AcquirerProcess) -> AsyncIterator[AcquirerBench]:
    acquirer.heal()
    bench = AcquirerBench(acquirer)
    yield bench
    await bench.adapter.aclose()


def follow(bench: AcquirerBench, original: RailRequest, flow: Flow, amount_minor: int, number: int = 1) -> RailRequest:
    return bench.order(
        flow=flow,
        rail_key=f"{original.rail_key.rpartition(':')[0]}.{flow}{number}:1",
        capture=False,
        amount_minor=amount_minor,
        original_rail_key=original.rail_key,
    )


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
async def test_acquirer_keeps_contract(bench: AcquirerBench, rule: Callable[[RailBench], Awaitable[None]]) -> None:
    await rule(bench)


async def test_a_charge_is_captured_in_parts_refunded_and_never_more_than_taken(bench: AcquirerBench) -> None:
    held = bench.order(capture=False)
    assert (await bench.run(held)).outcome is Outcome.APPROVED
    captures = [follow(bench, held, Flow.CAPTURE, amount, n) for n, amount in enumerate((5000, 3420, 1), 1)]
    assert [(await bench.run(one)).outcome for one in captures] == [
        Outcome.APPROVED,
        Outcome.APPROVED,
        Outcome.DECLINED,
    ]
    void = await bench.run(follow(bench, held, Flow.VOID, 8420))
    assert (void.outcome, void.decline_code) == (Outcome.DECLINED, "no_action_taken")
    refunds = [follow(bench, held, Flow.REFUND, amount, n) for n, amount in enumerate((8000, 420, 1), 1)]
    assert [(await bench.run(one)).outcome for one in refunds] == [Outcome.APPROVED, Outcome.APPROVED, Outcome.DECLINED]
    (purchase,) = bench.acquirer.purchases_under(held.rail_key)
    assert (purchase["captured"], purchase["refunded"]) == (8420, 8420)


async def test_an_authorization_is_given_back_once(bench: AcquirerBench) -> None:
    held = bench.order(capture=False)
    await bench.run(held)
    void = follow(bench, held, Flow.VOID, 8420)
    assert (await bench.run(void)).outcome is Outcome.APPROVED
    assert (await bench.run(replace(void, resumed=True))).outcome is Outcome.APPROVED
    (purchase,) = bench.acquirer.purchases_under(held.rail_key)
    assert purchase["standing"] == "reversed"
    assert (await bench.run(follow(bench, held, Flow.CAPTURE, 8420))).outcome is Outcome.DECLINED


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "silent_after", "garble", "wrong_stan", "duplicate"])
async def test_advices_and_voids_are_told_again_until_they_are_answered(bench: AcquirerBench, kind: str) -> None:
    held = bench.order(capture=False)
    await bench.run(held)
    for request in (follow(bench, held, Flow.CAPTURE, 8420), follow(bench, held, Flow.REFUND, 420)):
        bench.acquirer.inject(kind)
        answer = await bench.run(replace(request, deadline_seconds=0.3))
        assert answer.outcome is (Outcome.APPROVED if kind == "duplicate" else Outcome.UNKNOWN), (kind, answer)
        assert (await bench.ask(request)).outcome is Outcome.APPROVED
        assert (await bench.ask(request)).outcome is Outcome.APPROVED
    (purchase,) = bench.acquirer.purchases_under(held.rail_key)
    assert (purchase["captured"], purchase["refunded"]) == (8420, 420)


async def test_an_answer_that_comes_late_counts_if_nobody_took_the_order_back(bench: AcquirerBench) -> None:
    request = bench.order("lost", deadline_seconds=0.2)
    bench.acquirer.heal()
    bench.acquirer.inject("delay")
    assert (await bench.adapter.execute(request, bench.card(request))).outcome is Outcome.UNKNOWN
    async with asyncio.timeout(5):
        while await bench.records.find("acquirer", f"{request.rail_key}/verdict") is None:
            await asyncio.sleep(0.02)
    assert (await bench.ask(request)).outcome is Outcome.APPROVED
    effect = bench.effect(request.rail_key)
    assert effect is not None and effect.outcome == "approved"


async def test_a_late_yes_to_an_order_that_is_taken_back_changes_nothing(bench: AcquirerBench) -> None:
    request = bench.order("lost", deadline_seconds=0.2)
    assert (await bench.run(request)).outcome is Outcome.UNKNOWN
    bench.acquirer.inject("silent_before")
    assert (await bench.ask(request)).outcome is Outcome.UNKNOWN  # the reversal is written down, not confirmed
    await asyncio.sleep(1.1)  # the acquirer's delayed yes arrives meanwhile
    assert (await bench.ask(request)).outcome is Outcome.DECLINED
    effect = bench.effect(request.rail_key)
    assert effect is not None and effect.outcome == "reversed"
    reversals = [one for one in bench.acquirer.follows_under(request.rail_key) if one["kind"] == "reversal"]
    assert len(reversals) == 1  # one trace number, however often it was sent


async def test_reversals_go_on_by_themselves_and_tell_the_inbox(bench: AcquirerBench) -> None:
    bench.acquirer.inject("silent_after")
    request = bench.order()
    assert (await bench.adapter.execute(request, bench.card(request))).outcome is Outcome.UNKNOWN
    bench.acquirer.inject("refuse")
    assert (await bench.ask(request)).outcome is Outcome.UNKNOWN
    assert await bench.adapter.collect_notices() == []
    bench.acquirer.heal()
    heir = AcquirerBench(bench.acquirer, records=bench.records, terminal=bench.terminal)
    (notice,) = await heir.adapter.collect_notices()
    assert notice.rail_key == request.rail_key and notice.answer is not None
    assert (notice.answer.outcome, notice.answer.decline_class) == (Outcome.DECLINED, DeclineClass.TRY_LATER)
    assert await heir.adapter.collect_notices() == []
    assert (await heir.ask(request)).outcome is Outcome.DECLINED
    await heir.adapter.aclose()


async def test_what_element_39_permits(bench: AcquirerBench) -> None:
    cards = {
        "4000000000009995": ("insufficient_funds", DeclineClass.SOFT),
        "4000000000000069": ("expired_card", DeclineClass.DATA_FIX),
        "4000000000003220": ("authentication_required", DeclineClass.SCA_REQUIRED),
    }
    for number, expected in cards.items():
        request = bench.order()
        card = replace(bench.card(request), number=number)  # type: ignore[type-var]
        answer = await bench.adapter.execute(request, card)
        assert (answer.decline_code, answer.decline_class) == expected
    request = bench.order()
    malfunction = replace(bench.card(request), number="4000000000000119")  # type: ignore[type-var]
    assert (await bench.adapter.execute(request, malfunction)).outcome is Outcome.UNKNOWN
    without = await bench.adapter.execute(bench.order(), None)
    assert (without.outcome, without.decline_code) == (Outcome.DECLINED, "card_required")


async def test_the_acquirer_is_killed_and_comes_again(bench: AcquirerBench) -> None:
    sale = bench.order()
    assert (await bench.run(sale)).outcome is Outcome.APPROVED
    before = bench.acquirer.truth()
    bench.acquirer.kill()
    async with asyncio.timeout(5):
        while bench.adapter._link.connected:
            await asyncio.sleep(0.005)
    down = bench.order()
    assert (await bench.adapter.execute(down, bench.card(down))).outcome is Outcome.NOT_ATTEMPTED
    bench.acquirer.start()
    assert bench.acquirer.truth() == before
    assert (await bench.run(down)).outcome is Outcome.APPROVED
    assert (await bench.run(follow(bench, sale, Flow.REFUND, 8420))).outcome is Outcome.APPROVED


async def test_a_storm_of_faults_leaves_each_order_standing_or_gone(bench: AcquirerBench) -> None:
    seed = random.Random("acquirer")
    kinds = ("cut_before", "cut_after", "silent_after", "garble", "wrong_stan", "duplicate", None, None)
    orders = [bench.order(deadline_seconds=0.25) for _ in range(16)]
    ends: dict[str, Outcome] = {}
    for order in orders:
        kind = seed.choice(kinds)
        if kind is not None:
            bench.acquirer.inject(kind)
        answer = await bench.run(order)
        while answer.outcome not in (Outcome.APPROVED, Outcome.DECLINED, Outcome.NOT_ATTEMPTED):
            answer = await bench.ask(order, sent_ago_seconds=31)
        ends[order.rail_key] = answer.outcome
    for rail_key, end in ends.items():
        effect = bench.effect(rail_key)
        assert (end is Outcome.APPROVED) == (effect is not None and effect.outcome == "approved"), (rail_key, end)
    assert {Outcome.APPROVED, Outcome.DECLINED, Outcome.NOT_ATTEMPTED} == set(ends.values())


async def test_no_card_number_is_kept_or_logged(bench: AcquirerBench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    request = bench.order(capture=False)
    await bench.run(request)
    await bench.run(follow(bench, request, Flow.CAPTURE, 8420))
    number = "4242424242424242"
    assert number not in caplog.text and number not in repr(vars(bench.records))
    assert number not in str(bench.acquirer.truth()) and number not in repr(bench.card(request))


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "localhost"},
        {"terminal": "T1"},
        {"merchant": ""},
        {"not_located_final_after_seconds": "soon"},
        {"mode": "both"},
    ],
)
def test_a_line_that_is_wrong_is_named(wrong: dict[str, str]) -> None:
    line = {"name": "acquirer", "address": "127.0.0.1:9", "terminal": "TERM0001", "merchant": "MERCHANT01"}
    with pytest.raises(ValueError, match="the rail acquirer"):
        tuple(build({**line, **wrong}))
