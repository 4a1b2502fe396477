"""Partitions by recorded time: nothing about the book changes, old rows stay guarded, posting never lacks a place."""

import asyncio
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg_pool import AsyncConnectionPool
from temporalio.client import Client
from temporalio.worker import Worker

from activities.ledger_periods import LedgerPeriodActivities
from embedded.temporal import EmbeddedTemporal
from ledger.balances import account_entries, balance_at, trial_balance
from ledger.invariants import check_books
from ledger.migrate import migrate
from ledger.posting import Poster
from tests.conftest import DatabaseServer, TestDatabase
from tests.ledger.postings import HOLD, VOID, World, posted
from workflows.ledger_periods import LedgerPeriodsWorkflow

SPLIT = "SELECT end_ledger_period(clock_timestamp() + interval '150 ms')"
"""A moment ahead: until it has the turn, more is recorded."""


@pytest.fixture
async def world(poster: Poster) -> World:
    """A merchant with a `bank` without limits and an account `a`."""
    world = World()
    await poster.post(world.opens(world.opening("bank"), world.opening("a", least=0)))
    return world


@pytest.fixture
def older_database(postgres: DatabaseServer) -> Iterator[TestDatabase]:
    """A database migrated up to the revision before the partitions."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = postgres.server.url("postgres", postgres.server.password, name)
    migrated(url, postgres, "0021")
    app, api, owner = (
        postgres.server.url(f"ledgerline_{role}", postgres.passwords[role], name) for role in ("app", "api", "owner")
    )
    yield TestDatabase(name=name, admin_url=url, owner_url=owner, app_url=app, api_url=api)
    postgres.drop(name)


def migrated(url: str, postgres: DatabaseServer, revision: str = "head") -> None:
    """Migrate a database of this server, with the passwords its roles have."""
    words = postgres.passwords
    migrate(
        url,
        app_password=words["app"],
        api_password=words["api"],
        owner_password=words["owner"],
        revision=revision,
    )


async def test_what_is_there_becomes_the_first_period(older_database: TestDatabase, postgres: DatabaseServer) -> None:
    """Entries, balances and answers are as before, keys are still known, and posting goes on in the same partition."""
    world, before = World(), Poster(older_database.app_url)
    await before.start()
    await before.post(world.opens(world.opening("bank"), world.opening("a")))
    hold = world.posting(world.movement("a", "bank", 4, phase=HOLD))
    asked = [world.move("bank", "a", amount) for amount in (5, 6, 7)] + [hold]
    first = [await before.post(posting) for posting in asked]
    await before.stop()
    rows = "SELECT to_jsonb(e) FROM entries e ORDER BY e.id"
    with psycopg.connect(older_database.admin_url, autocommit=True) as admin:
        entries, where = (
            admin.execute(rows).fetchall(),
            admin.execute("SELECT pg_relation_filenode('entries')").fetchone(),
        )
        migrated(older_database.admin_url, postgres)
        assert admin.execute(rows).fetchall() == entries
        partitions = admin.execute("SELECT DISTINCT pg_relation_filenode(tableoid) FROM entries").fetchall()
        assert partitions == [where]
    after = Poster(older_database.app_url)
    await after.start()
    again = [await after.post(posting) for posting in asked]
    assert [one.entries for one in again] == [one.entries for one in first] and all(one.duplicate for one in again)
    reused = await after.post(world.move("bank", "a", 9, key=asked[0].movements[0].key))
    assert reused.refusal is not None and reused.refusal.code == "exists_with_different_amount"
    await after.post(world.posting(world.movement("a", "bank", 4, phase=VOID, hold_key=hold.movements[0].key)))
    await after.post(world.move("bank", "a", 8))
    await after.stop()
    async with await psycopg.AsyncConnection.connect(older_database.admin_url, autocommit=True) as reader:
        assert await posted(reader, world.code("a")) == (26, 0, 0)
        assert (await check_books(reader)).ok


async def test_periods_end_under_load_and_no_answer_changes(
    database: TestDatabase, poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Ten periods end while two posters post; balances at instants of each stay, pages go across, keys are found."""
    other, stop = Poster(database.app_url, batch_max=8), asyncio.Event()
    await other.start()
    early = world.move("bank", "a", 1000)
    first = await poster.post(early)

    async def load(through: Poster) -> None:
        while not stop.is_set():
            await through.post(world.move("bank", "a", 1))

    loaders = [asyncio.create_task(load(through)) for through in (poster, other) for _ in range(8)]
    asked = []
    async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as admin:
        for _ in range(10):
            await admin.execute(SPLIT)
            await asyncio.sleep(0.2)
            at = datetime.now(UTC)
            asked.append((at, await balance_at(reader, world.code("a"), at), await trial_balance(reader, at)))
    stop.set()
    await asyncio.gather(*loaders)
    await other.stop()
    for at, balance, trial in asked:
        assert await balance_at(reader, world.code("a"), at) == balance
        assert await trial_balance(reader, at) == trial
    cursor = await reader.execute("SELECT tableoid, count(*) FROM entries GROUP BY 1")
    partitions = await cursor.fetchall()
    assert len(partitions) >= 10
    again = await poster.post(early)
    assert again.duplicate and again.entries == first.entries
    reused = await poster.post(
        world.move("bank", "a", 1000, key=early.movements[0].key, effective_at=datetime.now(UTC))
    )
    assert reused.refusal is not None and reused.refusal.code == "exists_with_different_facts"
    pages: list[int] = []
    before = None
    while page := await account_entries(reader, world.code("a"), limit=500, before=before):
        pages, before = pages + [entry.sequence for entry in page], page[-1].number
    assert pages == list(range(len(pages), 0, -1))
    assert (await check_books(reader)).ok


async def test_a_balance_at_an_instant_looks_into_one_partition(
    database: TestDatabase, poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """The index of the instant's own partition is asked, and no other, however many there are."""
    instants = []
    async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as admin:
        for _ in range(4):
            result = await poster.post(world.move("bank", "a", 1))
            instants.append(result.recorded_at)
            await admin.execute("SELECT end_ledger_period(clock_timestamp() + interval '10 ms')")
            await asyncio.sleep(0.02)
    cursor = await reader.execute(
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT e.balance_minor FROM accounts a LEFT JOIN LATERAL"
        " (SELECT * FROM entries e WHERE e.account_id = a.id AND e.recorded_at <= %s ORDER BY e.recorded_at DESC"
        " LIMIT 1) e ON true WHERE a.code = %s",
        (instants[2], world.code("a")),
    )
    scans = [line for (line,) in await cursor.fetchall() if "Scan" in line and " on entries_" in line]
    assert len(scans) >= 3 and sum("never executed" not in line for line in scans) == 1, scans


async def test_posting_finds_a_place_when_nobody_made_one(fresh_database: TestDatabase) -> None:
    """Beyond the last month made ahead, entries are recorded all the same; the next extension bounds their period."""
    with psycopg.connect(fresh_database.admin_url, autocommit=True) as admin:
        admin.execute(
            "CREATE SCHEMA clocks; GRANT USAGE ON SCHEMA clocks TO public;"
            "CREATE FUNCTION clocks.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
            " 'SELECT pg_catalog.clock_timestamp() + interval ''200 days'''"
        )
        admin.execute(
            f"ALTER ROLE ledgerline_app IN DATABASE {fresh_database.name} SET search_path = clocks, public, pg_catalog"
        )
        world, poster = World(), Poster(fresh_database.app_url)
        await poster.start()
        await poster.post(world.opens(world.opening("bank"), world.opening("a")))
        await poster.post(world.move("bank", "a", 3))
        where = admin.execute("SELECT DISTINCT tableoid::regclass::text FROM entries").fetchall()
        assert where == [("entries_open",)]
        admin.execute("SELECT extend_ledger_periods(clock_timestamp() + interval '3 months')")
        assert admin.execute("SELECT extend_ledger_periods(now() + interval '8 months')").fetchone() != (0,)
        where = admin.execute("SELECT DISTINCT tableoid::regclass::text FROM entries").fetchall()
        assert len(where) == 1 and where[0][0].startswith("entries_before_")
        await poster.post(world.move("bank", "a", 4))
        await poster.stop()
    async with await psycopg.AsyncConnection.connect(fresh_database.admin_url, autocommit=True) as reader:
        assert (await check_books(reader)).ok
        balance = await balance_at(reader, world.code("a"))
        assert balance is not None and balance.posted_minor == 7


@pytest.mark.parametrize("role", ["admin", "owner", "app", "api"])
async def test_a_partition_is_guarded_by_itself(
    role: str, database: TestDatabase, poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Named directly, it refuses changes to everyone and everything to the application's roles."""
    await poster.post(world.move("bank", "a", 1))
    cursor = await reader.execute("SELECT DISTINCT tableoid::regclass::text FROM entries")
    names = [name for (name,) in await cursor.fetchall()]
    names += [name.replace("entries", "movements") for name in names] + ["entries_open", "movements_open"]
    attempts = ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"]
    if role in ("app", "api"):
        attempts += ["SELECT * FROM {}", "INSERT INTO {} SELECT * FROM {}", "DROP TABLE {}"]
    async with await psycopg.AsyncConnection.connect(getattr(database, f"{role}_url"), autocommit=True) as connection:
        for name in names:
            for attempt in attempts:
                with pytest.raises((psycopg.errors.RestrictViolation, psycopg.errors.InsufficientPrivilege)):
                    await connection.execute(attempt.replace("{}", name).encode())
        if role == "app":
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(SPLIT)


async def test_a_period_ends_only_after_what_is_recorded(database: TestDatabase, poster: Poster, world: World) -> None:
    """Not in the past, not where one ends already, and not more than two years ahead at once."""
    result = await poster.post(world.move("bank", "a", 1))
    assert result.recorded_at is not None
    async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as admin:
        upper = await (await admin.execute("SELECT max(lower_at) FROM ledger_periods")).fetchone()
        assert upper is not None
        for at in (result.recorded_at, result.recorded_at - timedelta(days=40), upper[0]):
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                await admin.execute("SELECT end_ledger_period(%s)", (at,))
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            await admin.execute("SELECT extend_ledger_periods(now() + interval '30 years')")


async def test_the_daily_round_makes_the_months_that_are_missing(
    older_database: TestDatabase, postgres: DatabaseServer, temporal: EmbeddedTemporal
) -> None:
    """In the sandbox of workflows, on the poster's role; a second round finds nothing to do, and posting goes on."""
    migrated(older_database.admin_url, postgres, "0022")
    client = await Client.connect(temporal.address, namespace=temporal.namespace)
    queue = f"periods-{secrets.token_hex(4)}"
    async with AsyncConnectionPool(older_database.app_url, kwargs={"autocommit": True}, open=False) as pool:
        activities = [LedgerPeriodActivities(pool).extend_ledger_periods]
        async with Worker(client, task_queue=queue, workflows=[LedgerPeriodsWorkflow], activities=activities):
            made = [
                await client.execute_workflow(LedgerPeriodsWorkflow.run, id=f"{queue}-{n}", task_queue=queue)
                for n in range(2)
            ]
    assert made[0] >= 3 and made[1] == 0
    world, poster = World(), Poster(older_database.app_url)
    await poster.start()
    await poster.post(world.opens(world.opening("bank"), world.opening("a")))
    assert (await poster.post(world.move("bank", "a", 1))).refusal is None
    await poster.stop()
