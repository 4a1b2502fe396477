"""Storms of lost answers, outages and dying workers on the way to a bank: each order is in its books at most once."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from domain.rail import Outcome, RailRequest
from rails.faulty_path import Fault
from tests.rails import test_ach, test_sepa_credit_transfer
from tests.rails.mock_bank import MockBank

FAULTS: tuple[Fault | None, ...] = (None, None, "drop_before", "drop_after", "garble", "error500", "error500_after")
ORDERS = 24
Bench = test_ach.AchBench | test_sepa_credit_transfer.SepaBench


@pytest.fixture(params=["sepa_credit", "ach"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bank = MockBank(tmp_path, clock="2026-03-05T09:00")
    if request.param == "ach":
        async with test_ach.bench_at(bank, test_ach.Records()) as built:
            yield built
    else:
        async with test_sepa_credit_transfer.bench_at(bank) as sepa:
            yield sepa
    bank.stop()


async def carry_out(bench: Bench, request: RailRequest, chance: random.Random) -> None:
    """Give an order as workers do that lose answers and die: whoever comes after says so."""
    resumed = False
    while True:
        fault = chance.choice(FAULTS)
        if fault is not None:
            await bench.path.break_next(fault)
        dies_after = chance.choice((None, None, 0.0, 0.005, 0.02))
        work = asyncio.create_task(bench.adapter.execute(replace(request, resumed=resumed), None))
        if dies_after is not None:
            await asyncio.wait((work,), timeout=dies_after)
            work.cancel()
        answer = None
        with contextlib.suppress(asyncio.CancelledError):
            answer = await work
        await bench.path.heal()
        if answer is not None and answer.outcome is not Outcome.UNKNOWN:
            return
        resumed = True


async def test_orders_of_a_storm_are_at_the_bank_once(bench: Bench) -> None:
    chance = random.Random(29)
    requests = [bench.order("declined_hard" if number % 6 == 5 else "approved") for number in range(ORDERS)]
    for request in requests:
        await carry_out(bench, request, chance)
    bench.bank.advance(5)
    for request in requests:
        effect = bench.effect(request.rail_key)
        answer = await bench.ask(request)
        booked = effect is not None and effect.outcome == "accepted"
        assert answer.outcome is (Outcome.APPROVED if booked else Outcome.DECLINED), (request.rail_key, effect, answer)
        assert effect is not None and (effect.amount, effect.calls) == (request.amount_minor, 1)
