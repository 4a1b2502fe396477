"""What was signed, written down before it is broadcast: the write-ahead log of one wallet, in PostgreSQL.

Decides which order gets which nonce, once and for ever. Nonces are given under the wallet's row lock, so
several processes may share a wallet. Times are the database's.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from rails.adapters.usdc.token import Fees, SignedTransfer

_ORDERS = """
    SELECT o.rail_key, o.nonce, o.destination, o.amount_minor, o.gas, o.status, o.mined_hash, o.mined_block,
        o.reorganizations, s.hash, s.raw, s.max_fee_wei, s.priority_fee_wei, s.number,
        clock_timestamp() - s.signed_at AS age,
        ARRAY(SELECT e.hash FROM chain_sends e WHERE e.rail_key = o.rail_key ORDER BY e.number DESC) AS hashes
    FROM chain_orders o LEFT JOIN LATERAL (
        SELECT * FROM chain_sends l WHERE l.rail_key = o.rail_key ORDER BY l.number DESC LIMIT 1) s ON true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOrder:
    """One order and its standing transaction `last`; `hashes` are all that were signed for it, newest first.

    Every one of them has the same nonce, so at most one is ever mined. `age` is since `last` was signed.
    A closed order has neither nonce nor transactions.
    """

    rail_key: str
    status: str
    nonce: int = -1
    destination: str = ""
    amount_minor: int = 0
    gas: int = 0
    last: SignedTransfer | None = None
    number: int = 0
    hashes: tuple[str, ...] = ()
    age: timedelta = timedelta()
    mined_hash: str | None = None
    mined_block: int | None = None
    reorganizations: int = 0


class Journal:
    """The journal of one wallet on one chain."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[DictRow]], *, chain: str, wallet: str) -> None:
        self._pool = pool
        self._chain = chain
        self._wallet = wallet

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        await self._pool.open()
        async with self._pool.connection() as connection:
            yield connection

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._pool.close()

    async def find(self, rail_key: str) -> ChainOrder | None:
        """Return an order, None when it was never written."""
        async with self._connection() as connection:
            row = await (await connection.execute(f"{_ORDERS} WHERE o.rail_key = %s", (rail_key,))).fetchone()
        return None if row is None else _order(row)

    async def open(
        self,
        rail_key: str,
        *,
        destination: str,
        amount_minor: int,
        gas: int,
        funds_minor: int,
        at_block: int,
        first_nonce: int,
        sign: Callable[[int], SignedTransfer],
    ) -> ChainOrder | None:
        """Give an order its nonce and write its signed transaction; return the order that now stands under the key.

        Idempotent on `rail_key`: an order written before is returned as it is. None: `funds_minor`, the wallet's
        balance at `at_block`, does not cover it and what else is on its way; nothing was written.
        """
        async with self._connection() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO chain_wallets VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (self._chain, self._wallet, first_nonce),
            )
            wallet = await _one(
                connection,
                "SELECT next_nonce FROM chain_wallets WHERE chain = %s AND address = %s FOR UPDATE",
                (self._chain, self._wallet),
            )
            found = await (await connection.execute(f"{_ORDERS} WHERE o.rail_key = %s", (rail_key,))).fetchone()
            if found is not None:
                return _order(found)
            promised = await _one(
                connection,
                "SELECT coalesce(sum(amount_minor), 0)::bigint AS minor FROM chain_orders"
                " WHERE chain = %s AND wallet = %s"
                " AND (status = 'open' OR (status = 'confirmed' AND mined_block > %s))",
                (self._chain, self._wallet, at_block),
            )
            if promised["minor"] + amount_minor > funds_minor:
                return None
            nonce = wallet["next_nonce"]
            transfer = sign(nonce)
            assert transfer.nonce == nonce
            await connection.execute(
                "UPDATE chain_wallets SET next_nonce = next_nonce + 1 WHERE chain = %s AND address = %s",
                (self._chain, self._wallet),
            )
            await connection.execute(
                "INSERT INTO chain_orders (rail_key, chain, wallet, nonce, destination, amount_minor, gas, status)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, 'open')",
                (rail_key, self._chain, self._wallet, nonce, destination, amount_minor, gas),
            )
            await _write_send(connection, rail_key, 1, transfer)
            row = await (await connection.execute(f"{_ORDERS} WHERE o.rail_key = %s", (rail_key,))).fetchone()
            assert row is not None
            return _order(row)

    async def close(self, rail_key: str) -> bool:
        """Promise that an order which was never written never will be; False if it was. Idempotent."""
        async with self._connection() as connection:
            await connection.execute(
                "INSERT INTO chain_orders (rail_key, chain, wallet, status) VALUES (%s, %s, %s, 'closed')"
                " ON CONFLICT (rail_key) DO NOTHING",
                (rail_key, self._chain, self._wallet),
            )
            row = await _one(connection, "SELECT status FROM chain_orders WHERE rail_key = %s", (rail_key,))
        return bool(row["status"] == "closed")

    async def replace(self, order: ChainOrder, transfer: SignedTransfer) -> bool:
        """Write another transaction for the order's nonce; False if somebody else did so first."""
        assert transfer.nonce == order.nonce
        async with self._connection() as connection:
            return await _write_send(connection, order.rail_key, order.number + 1, transfer)

    async def mined(self, order: ChainOrder, *, status: str, mined_hash: str | None, block: int | None) -> None:
        """Write how an order ended on the chain, deep enough: `confirmed` or `reverted`.

        Reverted without a hash: its nonce was used by a transaction that is not in the journal.
        """
        await self._update(
            "UPDATE chain_orders SET status = %s, mined_hash = %s, mined_block = %s, ended_at = clock_timestamp()"
            " WHERE rail_key = %s AND status = 'open'",
            (status, mined_hash, block, order.rail_key),
        )

    async def unmined(self, order: ChainOrder) -> None:
        """Write that a confirmed order is gone from the chain: it is open again, and counted as such."""
        await self._update(
            "UPDATE chain_orders SET status = 'open', mined_hash = NULL, mined_block = NULL, ended_at = NULL,"
            " reorganizations = reorganizations + 1 WHERE rail_key = %s AND status = 'confirmed'",
            (order.rail_key,),
        )

    async def open_orders(self) -> list[ChainOrder]:
        """Return the wallet's orders that are not deep in the chain yet, by nonce."""
        return await self._several("o.status = 'open' ORDER BY o.nonce", ())

    async def confirmed_since(self, block: int) -> list[ChainOrder]:
        """Return the orders that were mined in this block or later and counted as final."""
        return await self._several("o.status = 'confirmed' AND o.mined_block >= %s ORDER BY o.nonce", (block,))

    async def ended_within(self, span: timedelta) -> list[ChainOrder]:
        """Return the orders that ended lately, by nonce."""
        return await self._several(
            "o.status IN ('confirmed', 'reverted') AND o.ended_at >= clock_timestamp() - %s ORDER BY o.nonce", (span,)
        )

    @asynccontextmanager
    async def tending(self) -> AsyncIterator[bool]:
        """Tell whether this process is the one that tends the wallet; it is until the block is left."""
        async with self._connection() as connection:
            key = f"chain wallet {self._chain} {self._wallet}"
            row = await _one(connection, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS mine", (key,))
            try:
                yield bool(row["mine"])
            finally:
                if row["mine"]:
                    await connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,))

    async def _several(self, condition: str, terms: tuple[Any, ...]) -> list[ChainOrder]:
        async with self._connection() as connection:
            cursor = await connection.execute(
                f"{_ORDERS} WHERE o.chain = %s AND o.wallet = %s AND {condition}",
                (self._chain, self._wallet, *terms),
            )
            return [_order(row) for row in await cursor.fetchall()]

    async def _update(self, statement: str, terms: tuple[Any, ...]) -> None:
        async with self._connection() as connection:
            await connection.execute(statement.encode(), terms)


def journal_pool(database_url: str) -> AsyncConnectionPool[AsyncConnection[DictRow]]:
    """Return a closed pool for a journal; it is opened on first use."""
    return AsyncConnectionPool(
        database_url,
        connection_class=AsyncConnection[DictRow],
        kwargs={"autocommit": True, "row_factory": dict_row},
        min_size=1,
        max_size=4,
        timeout=5,
        open=False,
    )


async def _write_send(
    connection: AsyncConnection[DictRow], rail_key: str, number: int, transfer: SignedTransfer
) -> bool:
    cursor = await connection.execute(
        "INSERT INTO chain_sends (hash, rail_key, number, raw, max_fee_wei, priority_fee_wei)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (transfer.hash, rail_key, number, transfer.raw, transfer.fees.max_wei, transfer.fees.priority_wei),
    )
    return cursor.rowcount == 1


async def _one(connection: AsyncConnection[DictRow], query: str, terms: tuple[Any, ...]) -> DictRow:
    row = await (await connection.execute(query.encode(), terms)).fetchone()
    assert row is not None
    return row


def _order(row: DictRow) -> ChainOrder:
    if row["status"] == "closed":
        return ChainOrder(rail_key=row["rail_key"], status="closed")
    fees = Fees(max_wei=int(row["max_fee_wei"]), priority_wei=int(row["priority_fee_wei"]))
    return ChainOrder(
        rail_key=row["rail_key"],
        status=row["status"],
        nonce=row["nonce"],
        destination=row["destination"],
        amount_minor=row["amount_minor"],
        gas=row["gas"],
        last=SignedTransfer(hash=row["hash"], raw=bytes(row["raw"]), nonce=row["nonce"], fees=fees),
        number=row["number"],
        hashes=tuple(row["hashes"]),
        age=row["age"],
        mined_hash=row["mined_hash"],
        mined_block=row["mined_block"],
        reorganizations=row["reorganizations"],
    )
