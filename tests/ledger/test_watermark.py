"""The watermark: what was answered about an instant stays, under load and when the database's clock steps back."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from ledger.balances import Axis, balance_at, settled_instant, trial_balance, watermark
from ledger.posting import Poster
from ledger.statements import statement
from tests.conftest import TestDatabase
from tests.ledger.postings import World

POSTERS = 3
QUESTIONS = 60


@pytest.fixture
async def world(poster: Poster) -> World:
    """A merchant with a `bank` without limits and an account `a`."""
    world = World()
    await poster.post(world.opens(world.opening("bank"), world.opening("a")))
    return world


async def asked(connection: psycopg.AsyncConnection, world: World, at: datetime) -> dict[str, Any]:
    """Everything the book answers about an instant by recorded time, and the instant it is about."""
    balance = await balance_at(connection, world.code("a"), at)
    assert balance is not None and balance.at <= balance.watermark
    page = await statement(connection, world.code("a"), balance.at - timedelta(milliseconds=40), balance.at)
    assert page is not None
    return {
        "at": balance.at,
        "balance": balance,
        "trial": await trial_balance(connection, balance.at),
        "statement": (page.opening, page.closing, page.entries, page.moved_minor),
    }


async def count_up_to(connection: psycopg.AsyncConnection, at: datetime) -> int:
    """How many entries are recorded at or before an instant."""
    row = await (await connection.execute("SELECT count(*) FROM entries WHERE recorded_at <= %s", (at,))).fetchone()
    assert row is not None
    return int(row[0])


async def test_rule_24_an_answer_about_the_past_never_changes_under_load(
    database: TestDatabase, poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Three posters with batches under way all the time; instants around now, asked by two readers, then again."""
    posters = [Poster(database.app_url, batch_max=size) for size in (4, 16, 64)][:POSTERS]
    for one in posters:
        await one.start()
    stop, dice = asyncio.Event(), random.Random(24)

    async def load(through: Poster) -> None:
        while not stop.is_set():
            late = datetime.now(UTC) - timedelta(seconds=dice.randrange(3600)) if dice.random() < 0.2 else None
            await through.post(world.move("bank", "a", 1, effective_at=late))

    loaders = [asyncio.create_task(load(through)) for through in posters for _ in range(24)]
    answers, marks = [], []
    async with await psycopg.AsyncConnection.connect(database.app_url, autocommit=True) as second:
        for _ in range(QUESTIONS):
            at = datetime.now(UTC) + timedelta(microseconds=dice.randrange(-3000, 500))
            first, twin = await asyncio.gather(asked(reader, world, at), asked(second, world, at))
            if first["at"] == twin["at"]:
                assert first == twin
            answers += [first, twin]
            mark = await watermark(reader)
            marks.append((mark, await count_up_to(second, mark)))
    stop.set()
    await asyncio.gather(*loaders)
    for one in posters:
        await one.stop()
    for answer in answers:
        assert await asked(reader, world, answer["at"]) == answer
    assert marks == sorted(marks) and marks[-1][1] > marks[0][1]
    for mark, entries in marks:
        assert await count_up_to(reader, mark) == entries
    assert answers[-1]["balance"].posted_minor > QUESTIONS


async def test_rule_24_holds_when_the_databases_clock_steps_back(fresh_database: TestDatabase) -> None:
    """An hour back after a quiet time: what is posted then is recorded after every instant answered before."""
    with psycopg.connect(fresh_database.admin_url, autocommit=True) as admin:
        # The poster's clock is a clock we can set: its role finds this one first.
        admin.execute(
            "CREATE SCHEMA clocks; CREATE TABLE clocks.behind (by interval); GRANT USAGE ON SCHEMA clocks TO public"
        )
        admin.execute("INSERT INTO clocks.behind VALUES ('0'); GRANT SELECT ON clocks.behind TO public")
        admin.execute(
            "CREATE FUNCTION clocks.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
            " 'SELECT pg_catalog.clock_timestamp() - by FROM clocks.behind'"
        )
        admin.execute(
            f"ALTER ROLE ledgerline_app IN DATABASE {fresh_database.name} SET search_path = clocks, public, pg_catalog"
        )
        world, poster = World(), Poster(fresh_database.app_url)
        await poster.start()
        await poster.post(world.opens(world.opening("bank"), world.opening("a")))
        first = await poster.post(world.move("bank", "a", 1))
        async with await psycopg.AsyncConnection.connect(fresh_database.api_url, autocommit=True) as api:
            await api.execute("SELECT set_config('ledgerline.admin', 'on', false)")
            quiet = datetime.now(UTC)
            before = await balance_at(api, world.code("a"), quiet)
            assert before is not None and (before.posted_minor, before.at) == (1, quiet)
            admin.execute("UPDATE clocks.behind SET by = '1 hour'")
            second = await poster.post(world.move("bank", "a", 10))
            after = await balance_at(api, world.code("a"), quiet)
            now = await balance_at(api, world.code("a"))
        await poster.stop()
    assert first.recorded_at is not None and second.recorded_at is not None
    assert first.recorded_at < quiet < second.recorded_at < quiet + timedelta(minutes=1)
    assert after == before and now is not None and now.posted_minor == 11 and now.at == second.recorded_at


async def test_settling_writes_only_above_what_was_recorded(
    database: TestDatabase, poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """An instant of the past costs a look; one in the quiet time since is promised once, the future as of now."""

    async def promised() -> int:
        row = await (await reader.execute("SELECT last_value FROM ledger_horizon")).fetchone()
        assert row is not None
        return int(row[0])

    result = await poster.post(world.move("bank", "a", 1))
    assert result.recorded_at is not None
    untouched = await promised()
    assert await settled_instant(reader, result.recorded_at) == result.recorded_at
    assert await promised() == untouched
    now = datetime.now(UTC)
    assert await settled_instant(reader, now) == now and await settled_instant(reader, now) == now
    assert await promised() == int(now.timestamp()) * 1_000_000 + now.microsecond
    tomorrow = now + timedelta(days=1)
    assert now < await settled_instant(reader, tomorrow) < tomorrow
    later = await poster.post(world.move("bank", "a", 1))
    assert later.recorded_at is not None and later.recorded_at > now
    effective = await balance_at(reader, world.code("a"), now, Axis.EFFECTIVE)
    assert effective is not None and effective.at == now
