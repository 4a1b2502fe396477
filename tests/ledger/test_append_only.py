"""What is written stays: the database refuses change and removal to every role, its owner and superusers too."""

import dataclasses

import psycopg
import pytest

from ledger.posting import Poster
from tests.conftest import TestDatabase
from tests.ledger.postings import HOLD, World

APPEND_ONLY = (
    "movements",
    "entries",
    "ledger_transactions",
    "events",
    "audit_records",
    "idempotency_keys",
    "hold_changes",
    "movement_keys",
)
FIRST_COLUMN = {
    "movements": "key",
    "entries": "id",
    "ledger_transactions": "key",
    "events": "type",
    "audit_records": "actor",
    "idempotency_keys": "key",
    "hold_changes": "account_id",
    "movement_keys": "key",
}


@pytest.fixture
async def written(poster: Poster) -> World:
    """A row in every append-only table."""
    world = World()
    charge = world.charge("ch_append_only")
    await poster.post(world.opens(world.opening("bank"), world.opening("a")))
    await poster.post(
        world.posting(
            world.movement("bank", "a", 10),
            world.movement("a", "bank", 1, phase=HOLD),
            records=(charge,),
            events=(world.event(charge),),
            claim=world.claim("k", charge.id),
        )
    )
    return world


@pytest.mark.parametrize("role", ["admin", "owner", "app", "api"])
@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_rule_26_rows_cannot_be_changed_or_removed(
    table: str, role: str, written: World, database: TestDatabase
) -> None:
    """UPDATE, DELETE and TRUNCATE are refused, also to a superuser who turns ordinary triggers off."""
    column = FIRST_COLUMN[table]
    async with await psycopg.AsyncConnection.connect(getattr(database, f"{role}_url"), autocommit=True) as connection:
        if role == "admin":
            await connection.execute("SET session_replication_role = replica")
        for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises((psycopg.errors.RestrictViolation, psycopg.errors.InsufficientPrivilege)):
                await connection.execute(statement.encode())


async def test_half_a_movement_cannot_be_written(written: World, database: TestDatabase) -> None:
    """Entries that don't sum to zero are refused, whoever writes them."""
    async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.CheckViolation):
            await connection.execute(
                "INSERT INTO entries SELECT id + 1000000, movement_id, account_id, sequence, direction, amount_minor,"
                " balance_minor, recorded_at + interval '1 day', effective_at FROM entries WHERE direction = 'debit'"
            )


async def test_the_api_role_only_reads(written: World, database: TestDatabase) -> None:
    """No writes, no posting, no ciphertext, no data keys."""
    async with await psycopg.AsyncConnection.connect(database.api_url, autocommit=True) as connection:
        for statement in (
            "INSERT INTO accounts (code, currency, kind) VALUES ('x', 'EUR', 'x')",
            "UPDATE accounts SET balance_minor = 0",
            "INSERT INTO merchants (id, name) VALUES ('mer_x', 'x')",
            "SELECT internal FROM vault_tokens",
            "SELECT * FROM vault_data_keys",
            "SELECT * FROM ledger_turn",
            "DELETE FROM charges",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement.encode())
        await connection.execute("SELECT document FROM vault_tokens")


async def test_merchants_see_only_their_own_rows(written: World, database: TestDatabase, poster: Poster) -> None:
    """By merchant and by mode; without either nothing; with the admin setting everything."""
    other = World()
    charge = other.charge("ch_other")
    await poster.post(other.opens(other.opening("bank"), other.opening("a")))
    moved = other.posting(other.movement("bank", "a", 10), records=(charge,), events=(other.event(charge),))
    await poster.post(dataclasses.replace(moved, claim=other.claim("k", charge.id)))
    tables = (
        "accounts",
        "charges",
        "events",
        "movements",
        "entries",
        "ledger_transactions",
        "audit_records",
        "idempotency_keys",
    )

    async def counts(merchant: str, mode: str, admin: str) -> list[int]:
        seen = []
        async with await psycopg.AsyncConnection.connect(database.api_url) as connection:
            for name, value in (("merchant", merchant), ("mode", mode), ("admin", admin)):
                await connection.execute("SELECT set_config(%s, %s, true)", (f"ledgerline.{name}", value))
            for table in tables:
                cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
                row = await cursor.fetchone()
                seen.append(row[0] if row else -1)
        return seen

    assert await counts(other.merchant_id, "test", "") == [2, 1, 1, 1, 2, 2, 2, 1]
    assert await counts(other.merchant_id, "live", "") == [0] * len(tables)
    assert await counts("", "", "") == [0] * len(tables)
    everything = await counts("", "", "on")
    assert all(count > 0 for count in everything) and everything[0] >= 4


async def test_a_connection_without_settings_sees_nothing(written: World, database: TestDatabase) -> None:
    """Forgetting to say who asks shows nothing rather than everything."""
    async with await psycopg.AsyncConnection.connect(database.api_url, autocommit=True) as connection:
        for table in ("accounts", "charges", "merchants", "api_keys", "entries", "holds"):
            cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
            assert await cursor.fetchone() == (0,)
