"""An account's terms: changed with their event and audit record or not at all, never past what is on it."""

import asyncio
import dataclasses
from typing import Any

import psycopg
import pytest

from domain.ledger import AccountChange, Posting, PostingResult, Record, RecordKind, RefusalCode
from ledger.posting import Poster
from tests.conftest import TestDatabase
from tests.ledger.postings import HOLD, VOID, World, whole_state

TERMS = "SELECT status, name, min_balance_minor, max_balance_minor, terms_version FROM accounts WHERE code = %s"


@pytest.fixture
async def world(poster: Poster) -> World:
    """A merchant with a `bank` without limits and `a` with 100, which may not go below 0."""
    world = World()
    await poster.post(world.opens(world.opening("bank"), world.opening("a", least=0), world.opening("b")))
    await poster.post(world.move("bank", "a", 100))
    return world


def change(world: World, version: int, key: str | None = None, **terms: Any) -> Posting:
    """The posting of new terms of `a`."""
    after: dict[str, Any] = {"status": "open", "name": None, "min_balance_minor": 0, "max_balance_minor": None} | terms
    code = world.code("a")
    document = {"code": code, "currency": "EUR", "kind": "customer", "status": after["status"]}
    record = Record(kind=RecordKind.ACCOUNT, id=code, version=version, document=document)
    return world.posting(
        key=key or f"{code}:terms:{version}",
        records=(record,),
        events=(world.event(record, "account.updated"),),
        account_change=AccountChange(code=code, version=version, **after),
    )


def code_of(result: PostingResult) -> RefusalCode | None:
    return result.refusal.code if result.refusal else None


async def terms_of(reader: psycopg.AsyncConnection, world: World) -> tuple[Any, ...]:
    row = await (await reader.execute(TERMS, (world.code("a"),))).fetchone()
    assert row is not None
    return tuple(row)


async def test_terms_change_once_with_event_and_audit_record(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """The same posting again is the first one's result; the new limit holds from the next posting on."""
    first = change(world, 2, name="Till", min_balance_minor=-50, max_balance_minor=120)
    assert (await poster.post(first)).refusal is None
    assert (await poster.post(first)).duplicate
    assert await terms_of(reader, world) == ("open", "Till", -50, 120, 2)
    assert code_of(await poster.post(world.move("bank", "a", 21))) is RefusalCode.EXCEEDS_MAXIMUM_BALANCE
    assert code_of(await poster.post(world.move("a", "bank", 151))) is RefusalCode.EXCEEDS_AVAILABLE_BALANCE
    assert code_of(await poster.post(world.move("a", "bank", 150))) is None
    cursor = await reader.execute("SELECT type, object_version FROM events WHERE object_id = %s", (world.code("a"),))
    assert await cursor.fetchall() == [("account.updated", 2)]


async def test_terms_the_balance_breaks_are_refused_and_nothing_is_written(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """What is pending counts; closing takes an account without money and holds."""
    hold = world.movement("a", "bank", 30, phase=HOLD)
    promised = world.movement("bank", "a", 40, phase=HOLD)
    await poster.post(world.posting(hold, promised))
    before = await whole_state(reader)
    for terms, code in (
        ({"min_balance_minor": 71}, RefusalCode.BALANCE_BELOW_MINIMUM),
        ({"max_balance_minor": 139}, RefusalCode.BALANCE_ABOVE_MAXIMUM),
        ({"status": "closed"}, RefusalCode.ACCOUNT_NOT_EMPTY),
    ):
        assert code_of(await poster.post(change(world, 2, **terms))) is code
    assert code_of(await poster.post(change(world, 3))) is RefusalCode.ACCOUNT_CHANGED
    assert await whole_state(reader) == before
    assert code_of(await poster.post(change(world, 2, min_balance_minor=70, max_balance_minor=140))) is None


async def test_frozen_gives_holds_back_only_and_closed_is_for_ever(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    hold = world.movement("a", "bank", 30, phase=HOLD)
    await poster.post(world.posting(hold))
    assert code_of(await poster.post(change(world, 2, status="frozen"))) is None
    for refused in (world.move("a", "bank", 1), world.move("bank", "a", 1)):
        assert code_of(await poster.post(refused)) is RefusalCode.ACCOUNT_CLOSED
    assert code_of(await poster.post(world.move("a", "bank", 30, phase=VOID, hold_key=hold.key))) is None
    assert code_of(await poster.post(change(world, 3, status="open"))) is None
    await poster.post(world.move("a", "bank", 100))
    assert code_of(await poster.post(change(world, 4, status="closed"))) is None
    assert code_of(await poster.post(change(world, 5, status="open"))) is RefusalCode.ACCOUNT_CLOSED
    assert code_of(await poster.post(world.move("bank", "a", 1))) is RefusalCode.ACCOUNT_CLOSED
    assert (await terms_of(reader, world))[0] == "closed"


async def test_a_limit_and_money_at_once_never_end_beyond_the_limit(
    poster: Poster, database: TestDatabase, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Two posters: one raises the floor, the other moves money out; exactly what fits happens."""
    other = Poster(database.app_url)
    await other.start()
    for version in range(2, 8):
        await poster.post(world.move("bank", "a", 10))
        cursor = await reader.execute("SELECT balance_minor FROM accounts WHERE code = %s", (world.code("a"),))
        row = await cursor.fetchone()
        assert row is not None
        floor = row[0]
        lowered = change(world, version, name=f"v{version}", min_balance_minor=floor)
        results = await asyncio.gather(poster.post(lowered), other.post(world.move("a", "bank", 10)))
        codes = [code_of(result) for result in results]
        assert codes in (
            [None, RefusalCode.EXCEEDS_AVAILABLE_BALANCE],
            [RefusalCode.BALANCE_BELOW_MINIMUM, None],
        )
        if codes[0] is not None:
            renamed = change(world, version, name=f"v{version}", min_balance_minor=floor - 10)
            renamed = dataclasses.replace(renamed, key=renamed.key + ":again")
            assert code_of(await poster.post(renamed)) is None
    await other.stop()


async def test_changes_of_one_version_at_once_one_wins(poster: Poster, world: World) -> None:
    changes = [change(world, 2, key=f"{world.code('a')}:{n}", name=f"n{n}") for n in range(5)]
    results = await asyncio.gather(*(poster.post(one) for one in changes))
    codes = [code_of(result) for result in results]
    assert codes.count(None) == 1 and codes.count(RefusalCode.ACCOUNT_CHANGED) == 4
