"""Exactly once, whatever becomes of connections, callers and processes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from domain.ledger import PostingResult
from ledger import posting as posting_module
from ledger.invariants import check_books
from ledger.posting import Poster
from tests.conftest import TestDatabase
from tests.ledger.lossy_path import lossy
from tests.ledger.postings import World, posted

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def running(url: str, *, batch_max: int = 512) -> AsyncIterator[Poster]:
    """A started poster, stopped afterwards."""
    poster = Poster(url, batch_max=batch_max)
    await poster.start()
    try:
        yield poster
    finally:
        await poster.stop()


@pytest.fixture
async def world(poster: Poster) -> World:
    """A merchant with a `bank` without limits and an account `a`."""
    world = World()
    await poster.post(world.opens(world.opening("bank"), world.opening("a", least=0)))
    return world


async def post_many(poster: Poster, world: World, count: int) -> list[PostingResult]:
    """Credit `a` with 1, `count` times at once."""
    return list(await asyncio.gather(*(poster.post(world.move("bank", "a", 1)) for _ in range(count))))


async def test_an_answer_lost_after_commit_is_looked_up(
    database: TestDatabase, world: World, reader: psycopg.AsyncConnection
) -> None:
    """The commit happened and its answer never came: the re-post finds it, nothing is moved twice."""
    async with lossy(database.app_url) as (path, url), running(url) as poster:
        await post_many(poster, world, 1)
        path.swallowing = True
        posting = asyncio.gather(*(poster.post(world.move("bank", "a", 1)) for _ in range(20)))
        await path.swallowed.wait()
        while (await posted(reader, world.code("a")))[0] < 21:
            await asyncio.sleep(0.01)
        path.swallowing = False
        path.cut()
        results = await posting
    assert all(result.refusal is None and result.duplicate for result in results)
    assert {result.entries[1].balance_minor for result in results} == set(range(2, 22))
    assert await posted(reader, world.code("a")) == (21, 0, 0)


async def test_a_path_that_falls_silent_is_left(
    database: TestDatabase, world: World, reader: psycopg.AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer and no end of the connection: after the batch's time it is asked on a new one."""
    monkeypatch.setattr(posting_module, "BATCH_SECONDS_MAX", 0.3)
    async with lossy(database.app_url) as (path, url), running(url) as poster:
        await post_many(poster, world, 1)
        path.swallowing = True
        posting = asyncio.gather(*(poster.post(world.move("bank", "a", 1)) for _ in range(20)))
        await path.swallowed.wait()
        path.swallowing = False
        results = await posting
    assert all(result.refusal is None and result.duplicate for result in results)
    assert await posted(reader, world.code("a")) == (21, 0, 0)


async def test_a_backend_killed_in_mid_batch(
    database: TestDatabase, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Nothing was committed: the batch is posted on a new connection."""
    async with running(database.app_url) as poster:
        await post_many(poster, world, 1)
        async with await psycopg.AsyncConnection.connect(database.admin_url) as blocker:
            await blocker.execute("LOCK TABLE ledger_turn IN SHARE ROW EXCLUSIVE MODE")
            posting = asyncio.gather(*(poster.post(world.move("bank", "a", 1)) for _ in range(20)))
            killed = 0
            while not killed:
                await asyncio.sleep(0.02)
                cursor = await blocker.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'ledgerline-poster' AND wait_event_type = 'Lock'"
                )
                row = await cursor.fetchone()
                killed = row[0] if row else 0
            await blocker.rollback()
        results = await posting
    assert all(result.refusal is None for result in results)
    assert await posted(reader, world.code("a")) == (21, 0, 0)


async def test_backends_killed_all_the_time(
    database: TestDatabase, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Two posters under load while their backends are killed at random: every posting exactly once."""
    async with (
        running(database.app_url, batch_max=16) as one,
        running(database.app_url, batch_max=16) as two,
        await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as killer,
    ):
        posting = asyncio.gather(post_many(one, world, 400), post_many(two, world, 400))
        for _ in range(12):
            await asyncio.sleep(0.03)
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'ledgerline-poster'"
            )
        results = [result for part in await posting for result in part]
    assert all(result.refusal is None for result in results)
    balances = sorted(result.entries[1].balance_minor for result in results)
    assert balances == list(range(1, 801))
    assert await posted(reader, world.code("a")) == (800, 0, 0)
    assert (await check_books(reader)).ok


async def test_a_database_out_of_reach_is_a_retryable_error(
    database: TestDatabase, world: World, reader: psycopg.AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the budget callers get a ConnectionError; when the path is back the same posting posts."""
    monkeypatch.setattr(posting_module, "RETRY_BUDGET_SECONDS", 0.5)
    async with lossy(database.app_url) as (path, url), running(url) as poster:
        await post_many(poster, world, 1)
        path.refusing = True
        path.cut()
        posting = world.move("bank", "a", 1)
        with pytest.raises(ConnectionError):
            await poster.post(posting)
        path.refusing = False
        assert (await poster.post(posting)).refusal is None
    assert await posted(reader, world.code("a")) == (2, 0, 0)
    with pytest.raises(ConnectionError):
        await poster.post(world.move("bank", "a", 1))


async def test_a_cancelled_caller_does_not_disturb_its_batch(
    database: TestDatabase, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Every second caller gives up while the batch is in flight; the others get their results."""
    async with running(database.app_url) as poster:
        callers = [asyncio.create_task(poster.post(world.move("bank", "a", 1))) for _ in range(40)]
        await asyncio.sleep(0.001)
        for caller in callers[::2]:
            caller.cancel()
        results = await asyncio.gather(*callers, return_exceptions=True)
        kept = results[1::2]
        assert all(isinstance(result, PostingResult) and result.refusal is None for result in kept)
        await post_many(poster, world, 1)
    assert 21 <= (await posted(reader, world.code("a")))[0] <= 41
    assert (await check_books(reader)).ok


async def test_two_processes_share_one_hot_account(
    database: TestDatabase, poster: Poster, reader: psycopg.AsyncConnection
) -> None:
    """Two posters in two processes debit one account with money for 500 of 800: exactly 500 post."""
    world = World()
    await poster.post(world.opens(world.opening("bank"), world.opening("a", least=0)))
    await poster.post(world.move("bank", "a", 500))
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.ledger.debiting_process",
            database.app_url,
            world.merchant_id,
            "400",
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    outputs = [(await process.communicate())[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(int(output) for output in outputs) == 500
    assert await posted(reader, world.code("a")) == (0, 0, 0)
    assert (await check_books(reader)).ok


async def test_full_batches_are_encoded_ahead_and_each_caller_gets_its_own_answer(
    database: TestDatabase, world: World, reader: psycopg.AsyncConnection
) -> None:
    """300 postings in batches of 8, among them repetitions, refusals and one the database can't store."""
    async with running(database.app_url, batch_max=8) as poster:
        moves = [world.move("bank", "a", amount) for amount in range(1, 201)]
        repeated = moves[::4]
        refused = [world.move("a", "nobody", 1) for _ in range(49)]
        unstorable = world.move("bank", "a", 1, key="a\x00b")
        asked = [*moves, *repeated, *refused, unstorable]
        answers = await asyncio.gather(*(poster.post(posting) for posting in asked), return_exceptions=True)
    assert isinstance(answers[-1], ValueError)
    results = [answer for answer in answers if isinstance(answer, PostingResult)]
    first, again, no = results[:200], results[200:250], results[250:]
    assert [entry.amount_minor for result in first for entry in result.entries[:1]] == list(range(1, 201))
    assert [result.ledger_transaction_id for result in again] == [r.ledger_transaction_id for r in first[::4]]
    assert all(result.duplicate for result in again) and all(result.refusal is not None for result in no)
    instants = [result.recorded_at for result in first if result.recorded_at is not None]
    assert len(instants) == 200 and instants == sorted(instants)
    assert (await posted(reader, world.code("a")))[0] == 200 * 201 // 2
