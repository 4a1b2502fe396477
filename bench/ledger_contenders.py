"""The ledgers that are compared, each behind the same three calls: ours, pgledger, and the plain way.

Every one debits only what is there, durably, at SERIALIZABLE; pgledger is also run at READ COMMITTED, as its
own documentation runs it. A payment is its movements, all or none.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Sequence
from typing import Any, Protocol

import psycopg
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from domain.identifiers import Mode, account_code, new_identifier
from domain.ledger import AccountOpening, AuditDraft, Movement, Posting
from ledger.posting import Poster

Leg = tuple[int, int, int]
"""One movement: debited account, credited account, amount in minor units. Account 0 is the hot one."""

FUNDS_MINOR = 10**12
CONNECTIONS_MAX = 16
"""More connections make the others slower here, not faster: they queue for the same row."""

RETRIES_MAX = 2_000
CURRENCY = "EUR"


class Contender(Protocol):
    """A ledger under measurement. `retries` counts transactions done again after 40001 or 40P01."""

    name: str
    retries: int

    async def open(self, accounts: int) -> None:
        """Connect and make `accounts` funded accounts that may not go below zero."""
        ...

    async def pay(self, legs: Sequence[Leg]) -> None:
        """Commit one payment."""
        ...

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        ...


class OurLedger:
    """Ours, through the poster that every process of the product has."""

    name = "ledgerline"

    def __init__(self, url: str, *, merchant_id: str | None = None, batch_max: int = 512) -> None:
        self.retries = 0
        self.merchant_id = merchant_id or new_identifier("mer")
        self._url = url
        self._run = new_identifier("op")
        self._numbers = itertools.count()
        self._poster = Poster(url, batch_max=batch_max)
        self._codes: list[str] = []

    async def open(self, accounts: int) -> None:
        """Connect, and make the accounts unless another process has."""
        await self._poster.start()
        bank = self._code("bank")
        self._codes = [self._code(f"acct_{number}") for number in range(accounts)]
        await self._post("open", openings=[bank, *self._codes])
        movements = [self._movement(f"fund:{code}", bank, code, FUNDS_MINOR) for code in self._codes]
        await self._post("fund", movements=movements)

    async def attach(self, accounts: int) -> None:
        """Connect to accounts that are there already."""
        await self._poster.start()
        self._codes = [self._code(f"acct_{number}") for number in range(accounts)]

    async def pay(self, legs: Sequence[Leg]) -> None:
        """Commit one payment."""
        key = f"{self._run}:{next(self._numbers)}"
        movements = [
            self._movement(f"{key}:{place}", self._codes[debit], self._codes[credit], amount)
            for place, (debit, credit, amount) in enumerate(legs)
        ]
        await self._post(key, movements=movements)

    def account(self, number: int) -> str:
        """Return the ledger's name of an account."""
        return self._codes[number]

    async def close(self) -> None:
        """Disconnect."""
        await self._poster.stop()

    async def _post(self, key: str, *, movements: Sequence[Movement] = (), openings: Sequence[str] = ()) -> None:
        posting = Posting(
            key=f"{self.merchant_id}:{key}",
            merchant_id=self.merchant_id,
            mode=Mode.TEST,
            audit=AuditDraft(actor="bench", action="bench.posted", object_id=key),
            movements=tuple(movements),
            accounts=tuple(self._opening(code) for code in openings),
        )
        result = await self._poster.post(posting)
        assert result.refusal is None, result.refusal

    def _movement(self, key: str, debit: str, credit: str, amount: int) -> Movement:
        return Movement(
            key=f"{self.merchant_id}:{key}",
            debit_account=debit,
            credit_account=credit,
            amount_minor=amount,
            currency=CURRENCY,
            kind="bench",
            reference=key,
        )

    def _opening(self, code: str) -> AccountOpening:
        least = None if code == self._code("bank") else 0
        return AccountOpening(
            code=code,
            currency=CURRENCY,
            kind="customer",
            merchant_id=self.merchant_id,
            mode=Mode.TEST,
            min_balance_minor=least,
        )

    def _code(self, account: str) -> str:
        return account_code(self.merchant_id, Mode.TEST, account)


class PgLedger:
    """pgledger, through its own function, one transaction a payment."""

    def __init__(self, url: str, *, serializable: bool) -> None:
        level = "SERIALIZABLE" if serializable else "READ COMMITTED"
        self.name = f"pgledger, {level.lower()}"
        self.retries = 0
        self._level = level
        self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            url, min_size=1, max_size=CONNECTIONS_MAX, kwargs={"autocommit": True}, open=False, timeout=600
        )
        self._ids: list[str] = []

    async def open(self, accounts: int) -> None:
        """Connect, and make the accounts with the ledger's own functions."""
        # Transactions done again are counted; the driver would tell of each.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        await self._pool.open(wait=True)
        async with self._pool.connection() as connection:
            bank = await self._account(connection, "bank", negative=True)
            self._ids = [await self._account(connection, f"account {number}") for number in range(accounts)]
            for one in self._ids:
                await connection.execute("SELECT * FROM pgledger_create_transfer(%s, %s, %s)", (bank, one, FUNDS_MINOR))

    async def pay(self, legs: Sequence[Leg]) -> None:
        """Commit one payment."""
        rows = ",".join(["(%s, %s, %s)::transfer_request"] * len(legs))
        named = [part for debit, credit, amount in legs for part in (self._ids[debit], self._ids[credit], amount)]
        statement = f"SELECT * FROM pgledger_create_transfers(array[{rows}])"
        async with self._pool.connection() as connection:
            for _ in range(RETRIES_MAX):
                try:
                    async with connection.pipeline():
                        await connection.execute(f"BEGIN ISOLATION LEVEL {self._level}")
                        await connection.execute(statement, named)
                        await connection.execute("COMMIT")
                except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                    await connection.rollback()
                    self.retries += 1
                else:
                    return
        raise RuntimeError("no payment got through")

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.close()

    @staticmethod
    async def _account(connection: psycopg.AsyncConnection[Any], name: str, *, negative: bool = False) -> str:
        statement = "SELECT id FROM pgledger_create_account(%s, %s, allow_negative_balance => %s)"
        row = await (await connection.execute(statement, (name, CURRENCY, negative))).fetchone()
        assert row is not None
        return str(row[0])


NAIVE_SCHEMA = """
CREATE TABLE accounts (id integer PRIMARY KEY, balance_minor bigint NOT NULL);
CREATE TABLE movements (
    id bigserial PRIMARY KEY, key text NOT NULL UNIQUE, created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE entries (
    id bigserial PRIMARY KEY, movement_id bigint NOT NULL REFERENCES movements,
    account_id integer NOT NULL REFERENCES accounts, amount_minor bigint NOT NULL, balance_minor bigint NOT NULL
);
CREATE INDEX ON entries (account_id, id);
"""


class NaiveLedger:
    """The plain way: read both balances through SQLAlchemy, write both, one SERIALIZABLE transaction, retry."""

    name = "plain SQLAlchemy"

    def __init__(self, url: str) -> None:
        self.retries = 0
        scheme, rest = url.split("://", 1)
        assert scheme == "postgresql"
        self._engine: AsyncEngine = create_async_engine(
            f"postgresql+psycopg://{rest}",
            isolation_level="SERIALIZABLE",
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=600,
        )
        self._jitter = random.Random(1)

    async def open(self, accounts: int) -> None:
        """Make the tables and the accounts."""
        async with self._engine.begin() as connection:
            for statement in NAIVE_SCHEMA.split(";"):
                if statement.strip():
                    await connection.execute(text(statement))
            rows = [{"id": number, "funds": FUNDS_MINOR} for number in range(accounts)]
            await connection.execute(text("INSERT INTO accounts VALUES (:id, :funds)"), rows)

    async def pay(self, legs: Sequence[Leg]) -> None:
        """Commit one payment."""
        key = new_identifier("mv")
        for _ in range(RETRIES_MAX):
            try:
                async with self._engine.begin() as connection:
                    for place, (debit, credit, amount) in enumerate(legs):
                        await self._move(connection, f"{key}:{place}", debit, credit, amount)
            except DBAPIError as error:
                if not isinstance(error.orig, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
                    raise
                self.retries += 1
                await asyncio.sleep(self._jitter.uniform(0, 0.01))
            else:
                return
        raise RuntimeError("no payment got through")

    async def close(self) -> None:
        """Disconnect."""
        await self._engine.dispose()

    @staticmethod
    async def _move(connection: Any, key: str, debit: int, credit: int, amount: int) -> None:
        movement = await connection.scalar(text("INSERT INTO movements (key) VALUES (:key) RETURNING id"), {"key": key})
        for account, change in ((debit, -amount), (credit, amount)):
            read = text("SELECT balance_minor FROM accounts WHERE id = :account")
            balance = await connection.scalar(read, {"account": account}) + change
            assert balance >= 0, "not enough there"
            given = {"movement": movement, "account": account, "amount": change, "balance": balance}
            await connection.execute(text("UPDATE accounts SET balance_minor = :balance WHERE id = :account"), given)
            await connection.execute(
                text(
                    "INSERT INTO entries (movement_id, account_id, amount_minor, balance_minor)"
                    " VALUES (:movement, :account, :amount, :balance)"
                ),
                given,
            )
