"""Statements on both axes, and what a backdated movement may change: the effective axis only."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.balances import Axis, balance_at
from ledger.posting import Poster
from ledger.statements import statement
from tests.ledger.postings import World

DAY = timedelta(days=1)


@pytest.fixture
async def world(poster: Poster) -> World:
    """A merchant with a `bank` without limits and `a`."""
    world = World()
    await poster.post(world.opens(world.opening("bank"), world.opening("a")))
    return world


async def test_a_statement_by_page_is_the_statement(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Pages of two, on both axes, put together; each entry's balance follows from the one before."""
    start = datetime.now(UTC) - 40 * DAY
    for turn, back in enumerate((None, 10, None, 30, 3, None, 50)):
        at = None if back is None else datetime.now(UTC) - back * DAY
        assert (await poster.post(world.move("bank", "a", 10 + turn, effective_at=at))).refusal is None
    for axis in Axis:
        whole = await statement(reader, world.code("a"), start, axis=axis)
        assert whole is not None and not whole.has_more
        # The last one counts from 50 days ago: before the period by effective time, within it by recorded.
        assert whole.entry_count == len(whole.entries) == (7 if axis is Axis.RECORDED else 6)
        running = whole.opening.posted_minor
        assert running == (0 if axis is Axis.RECORDED else 16)
        for entry in whole.entries:
            running += entry.amount_minor
            assert entry.balance_minor == running
        assert running == whole.closing.posted_minor == 7 * 10 + 21
        paged, after = [], None
        while True:
            page = await statement(reader, world.code("a"), start, whole.closing.at, axis, limit=2, after=after)
            assert page is not None and page.entry_count == whole.entry_count
            paged += page.entries
            if not page.has_more:
                break
            after = page.entries[-1].number
        assert tuple(paged) == whole.entries
    by_date = await statement(reader, world.code("a"), start, axis=Axis.EFFECTIVE)
    assert by_date is not None
    dates = [entry.effective_at for entry in by_date.entries]
    assert dates == sorted(dates) and dates[0] < datetime.now(UTC) - 29 * DAY
    assert await statement(reader, world.code("nobody"), start) is None


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.integers(1, 50), st.none() | st.integers(1, 20)), min_size=2, max_size=8))
async def test_answers_for_the_past_on_the_recorded_axis_never_change(
    poster: Poster, reader: psycopg.AsyncConnection, steps: list[tuple[int, int | None]]
) -> None:
    """Whatever is dated back later: recorded answers stay, effective ones are the sum of what counts by then."""
    world = World()
    await poster.post(world.opens(world.opening("bank"), world.opening("a")))
    asked: list[tuple[datetime, object, object]] = []
    made: list[tuple[datetime, int]] = []
    code, beginning = world.code("a"), datetime.now(UTC) - 30 * DAY
    for amount, back in steps:
        at = None if back is None else datetime.now(UTC) - back * DAY
        result = await poster.post(world.move("bank", "a", amount, effective_at=at))
        assert result.recorded_at is not None
        made.append((at or result.recorded_at, amount))
        for past in (result.recorded_at, *(datetime.now(UTC) - days * DAY for days in (1, 9))):
            asked.append((past, await balance_at(reader, code, past), await statement(reader, code, beginning, past)))
            effective = await balance_at(reader, code, past, Axis.EFFECTIVE)
            assert effective is not None
            assert effective.posted_minor == sum(money for counts_from, money in made if counts_from <= past)
    for past, balance, account_statement in asked:
        assert await balance_at(reader, code, past) == balance
        assert await statement(reader, code, beginning, past) == account_statement
