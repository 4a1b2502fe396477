"""Balances now and at any instant, entries, statements, the trial balance, and the check of the books."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ledger.balances import Axis, account_entries, balance_at, settled_instant, trial_balance
from ledger.invariants import check_books
from ledger.posting import Poster
from ledger.statements import statement
from tests.conftest import TestDatabase
from tests.ledger.postings import FINAL, HOLD, World


@pytest.fixture
async def world(poster: Poster) -> World:
    """A merchant with a `bank` without limits and accounts `a` and `b`."""
    world = World()
    await poster.post(world.opens(world.opening("bank"), world.opening("a", least=0), world.opening("b")))
    return world


async def test_the_balance_at_every_commit_is_what_it_was(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Posted, pending, available and version after each of five steps, read long after."""
    hold = world.movement("a", "b", 60, phase=HOLD)
    steps = [
        world.move("bank", "a", 100),
        world.posting(hold),
        world.move("a", "b", 10),
        world.move("a", "b", 50, phase=FINAL, hold_key=hold.key),
        world.move("bank", "a", 5),
    ]
    instants = []
    for step in steps:
        result = await poster.post(step)
        assert result.refusal is None and result.recorded_at is not None
        instants.append(result.recorded_at)
    answers = [await balance_at(reader, world.code("a"), instant) for instant in instants]
    shown = [(b.posted_minor, b.pending_debits_minor, b.available_minor, b.version) for b in answers if b is not None]
    assert shown == [(100, 0, 100, 1), (100, 60, 40, 1), (90, 60, 30, 2), (40, 0, 40, 3), (45, 0, 45, 4)]
    before = await balance_at(reader, world.code("a"), instants[0] - timedelta(seconds=1))
    assert before is not None and (before.posted_minor, before.version) == (0, 0)
    now = await balance_at(reader, world.code("a"))
    assert now is not None and now.posted_minor == 45 and now == await balance_at(reader, world.code("a"), now.at)
    assert await balance_at(reader, world.code("nobody"), instants[0]) is None


async def test_an_answer_about_the_past_never_changes(
    database: TestDatabase, poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Under load from two posters, 60 instants a moment old are asked at once and again at the end."""
    other = Poster(database.app_url, batch_max=8)
    await other.start()
    stop = asyncio.Event()

    async def load(through: Poster) -> None:
        while not stop.is_set():
            await through.post(world.move("bank", "a", 1))

    loaders = [asyncio.create_task(load(through)) for through in (poster, other) for _ in range(8)]
    asked = []
    async with await psycopg.AsyncConnection.connect(database.app_url, autocommit=True) as second:
        for _ in range(60):
            at = datetime.now(UTC) - timedelta(microseconds=50)
            first, twin = await asyncio.gather(
                balance_at(reader, world.code("a"), at), balance_at(second, world.code("a"), at)
            )
            assert first == twin
            asked.append((at, first, await trial_balance(reader, at)))
            await asyncio.sleep(0.003)
    stop.set()
    await asyncio.gather(*loaders)
    await other.stop()
    assert asked[-1][1] is not None and asked[-1][1].posted_minor > 60
    for at, balance, trial in asked:
        assert await balance_at(reader, world.code("a"), at) == balance
        assert await trial_balance(reader, at) == trial
        assert all(totals.delta_minor == 0 for totals in trial.currencies)


async def test_the_api_role_reads_its_merchants_balances(
    database: TestDatabase, poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """In a transaction with its settings: its own accounts, now and at an instant; another's don't exist."""
    await poster.post(world.move("bank", "a", 7))
    async with await psycopg.AsyncConnection.connect(database.api_url) as api:
        for name, value in (("merchant", world.merchant_id), ("mode", "test")):
            await api.execute("SELECT set_config(%s, %s, true)", (f"ledgerline.{name}", value))
        for at in (None, datetime.now(UTC)):
            balance = await balance_at(api, world.code("a"), at)
            assert balance is not None and balance.posted_minor == 7
        assert await balance_at(api, World().code("a")) is None
        assert [entry.amount_minor for entry in await account_entries(api, world.code("a"))] == [7]
        assert {code for code, _, _ in (await trial_balance(api)).accounts} == {
            world.code(name) for name in ("bank", "a", "b")
        }


async def test_the_future_is_answered_as_of_now(poster: Poster, world: World, reader: psycopg.AsyncConnection) -> None:
    """`at` in the answer says which instant it is about."""
    await poster.post(world.move("bank", "a", 7))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    answer = await balance_at(reader, world.code("a"), tomorrow)
    assert answer is not None and answer.posted_minor == 7 and answer.at < tomorrow
    assert await settled_instant(reader, tomorrow) < tomorrow


async def test_effective_time_counts_from_the_business_date(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """100 recorded now but effective yesterday, 10 effective tomorrow: each axis answers its own question."""
    now = datetime.now(UTC)
    await poster.post(world.move("bank", "a", 1))
    await poster.post(world.move("bank", "a", 100, effective_at=now - timedelta(days=1)))
    result = await poster.post(world.move("bank", "a", 10, effective_at=now + timedelta(days=1)))
    assert result.recorded_at is not None

    async def at(instant: datetime, axis: Axis) -> int:
        balance = await balance_at(reader, world.code("a"), instant, axis)
        assert balance is not None
        return balance.posted_minor

    noon = now - timedelta(hours=12)
    assert (await at(noon, Axis.RECORDED), await at(noon, Axis.EFFECTIVE)) == (0, 100)
    assert (await at(result.recorded_at, Axis.RECORDED), await at(result.recorded_at, Axis.EFFECTIVE)) == (111, 101)


async def test_entries_and_statement_add_up(poster: Poster, world: World, reader: psycopg.AsyncConnection) -> None:
    """Newest first and by page; a statement is opening, entries, closing."""
    results = [await poster.post(world.move("bank", "a", amount)) for amount in (1, 2, 3, 4)]
    page = await account_entries(reader, world.code("a"), limit=3)
    assert [(e.amount_minor, e.balance_minor, e.sequence) for e in page] == [(4, 10, 4), (3, 6, 3), (2, 3, 2)]
    assert page[0].id == results[3].entries[1].id and page[0].kind == "test"
    rest = await account_entries(reader, world.code("a"), limit=3, before=page[-1].number)
    assert [e.amount_minor for e in rest] == [1]
    first, last = results[0].recorded_at, results[2].recorded_at
    assert first is not None and last is not None
    shown = await statement(reader, world.code("a"), first, last)
    assert shown is not None
    assert (shown.opening.posted_minor, shown.closing.posted_minor) == (1, 6)
    assert [e.amount_minor for e in shown.entries] == [2, 3]


async def test_trial_balance_is_zero_per_currency(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Debits equal credits, and every account is listed."""
    await poster.post(world.move("bank", "a", 50))
    now = await trial_balance(reader)
    accounts = {code: posted for code, _, posted in now.accounts}
    assert accounts[world.code("a")] == 50 and accounts[world.code("bank")] == -50
    assert [(totals.currency, totals.delta_minor) for totals in now.currencies] == [("EUR", 0)]
    assert now.currencies[0].debits_minor == sum(posted for posted in accounts.values() if posted > 0)
    assert (await trial_balance(reader, now.at)).currencies == now.currencies


BREAKS = {
    "balance_mismatch": "UPDATE accounts SET balance_minor = balance_minor + 1 WHERE code = %(a)s",
    "entry_count_mismatch": "UPDATE accounts SET version = version + 1 WHERE code = %(a)s",
    "pending_mismatch": "UPDATE accounts SET pending_debits_minor = pending_debits_minor + 1 WHERE code = %(a)s",
    "running_balance_mismatch": "UPDATE entries SET balance_minor = balance_minor + 1 WHERE id = 2",
    "currency_unbalanced": "UPDATE entries SET amount_minor = amount_minor + 1 WHERE id = 2",
    "movement_entries_wrong": "DELETE FROM entries WHERE id = 2",
    "entry_without_movement": "DELETE FROM movements WHERE id = 1",
    "entry_without_account": "DELETE FROM accounts WHERE code = %(a)s",
    "movement_currency_wrong": "UPDATE movements SET currency = 'USD' WHERE id = 1",
    "time_order_broken": "UPDATE entries SET recorded_at = recorded_at + interval '1 hour' WHERE id = 2",
    "sequence_gap": "UPDATE entries SET sequence = 7 WHERE id = 2",
}


async def test_the_check_finds_every_kind_of_violation(fresh_database: TestDatabase) -> None:
    """Guards taken off by a superuser, each rule is broken once and found with its account or entry."""
    world, poster = World(), Poster(fresh_database.app_url)
    await poster.start()
    await poster.post(world.opens(world.opening("bank"), world.opening("a")))
    for amount in (5, 6):
        await poster.post(world.move("bank", "a", amount))
    await poster.stop()
    async with await psycopg.AsyncConnection.connect(fresh_database.admin_url) as connection:
        report = await check_books(connection)
        assert report.ok and report.entries_checked == 4
        assert [(totals.currency, totals.delta_minor) for totals in report.currencies] == [("EUR", 0)]
        for table in ("entries", "movements"):
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
        await connection.commit()
        for kind, statement_text in BREAKS.items():
            await connection.execute(statement_text.encode(), {"a": world.code("a")})
            report = await check_books(connection)
            found = [violation for violation in report.violations if violation.kind == kind]
            assert found, (kind, report.violations)
            await connection.rollback()
        assert (await check_books(connection)).ok
