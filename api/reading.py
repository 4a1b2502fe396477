"""Reads under row level security, each set of statements in one round trip.

`set_config(..., true)` and the statements go out in one pipeline, which PostgreSQL runs as one
transaction: the settings hold for exactly these statements and nothing of them stays behind.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

from psycopg import AsyncConnection, OperationalError
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.identifiers import Mode

Row = dict[str, Any]
Driver = AsyncConnection[Any]

_SCOPE = (
    "SELECT set_config('ledgerline.merchant', %s, true),"
    " set_config('ledgerline.mode', %s, true), set_config('ledgerline.admin', %s, true)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadScope:
    """Whose rows may be seen: one merchant in one mode, or everybody's."""

    merchant_id: str | None = None
    mode: Mode | None = None
    admin: bool = False

    def settings(self) -> tuple[str, str, str]:
        """Return the values of the three session settings the policies read."""
        return self.merchant_id or "", self.mode.value if self.mode else "", "on" if self.admin else "off"


EVERYTHING = ReadScope(admin=True)
"""For looking up API keys and what rails refer to, before a merchant is known."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT in psycopg's `%(name)s` style with its parameters."""

    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Reads:
    """Runs statements under a scope on the API's read-only role."""

    def __init__(self, engine: AsyncEngine) -> None:
        # Autocommit leaves the transaction to the pipeline: no BEGIN and COMMIT round trips of our own.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def rows(self, scope: ReadScope, *statements: Statement) -> list[list[Row]]:
        """Return each statement's rows. A connection that turns out to be dead is replaced once.

        Raises:
            psycopg.OperationalError, sqlalchemy.exc.DBAPIError: the database is away. Retryable.
        """
        try:
            return await self._rows(scope, statements)
        except _ConnectionLostError:
            return await self._rows(scope, statements)

    async def first(self, scope: ReadScope, statement: Statement) -> Row | None:
        """Return the statement's first row, or None."""
        (rows,) = await self.rows(scope, statement)
        return rows[0] if rows else None

    @asynccontextmanager
    async def connection(self, scope: ReadScope) -> AsyncIterator[Driver]:
        """Give a connection in a READ COMMITTED transaction under the scope, for the ledger's read models."""
        with suppress(_ConnectionLostError):
            # Finds out, and forgets, connections that a restart of the database has left dead.
            await self._rows(scope, ())
        async with self._driver() as driver, driver.transaction():
            await driver.execute(_SCOPE, scope.settings())
            yield driver

    async def _rows(self, scope: ReadScope, statements: Sequence[Statement]) -> list[list[Row]]:
        async with self._driver() as driver:
            cursors = [driver.cursor(row_factory=dict_row) for _ in statements]
            async with driver.pipeline():
                await driver.execute(_SCOPE, scope.settings())
                for cursor, statement in zip(cursors, statements, strict=True):
                    await cursor.execute(cast("Any", statement.sql), statement.parameters)
            return [await cursor.fetchall() for cursor in cursors]

    @asynccontextmanager
    async def _driver(self) -> AsyncIterator[Driver]:
        pool = self._engine.sync_engine.pool
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = cast("Driver", raw.driver_connection)
            try:
                yield driver
            except BaseException as error:
                lost = driver.closed and isinstance(error, OperationalError)
                # Whatever broke the pipeline, this connection's state is not to be reasoned about.
                await connection.invalidate()
                if not lost:
                    raise
                if self._engine.sync_engine.pool is pool:
                    # The others of this pool are as old: start a new one instead of failing on each.
                    await self._engine.dispose(close=False)
                raise _ConnectionLostError(*error.args) from error


class _ConnectionLostError(OperationalError):
    """The connection was dead before or while it was used; reads may simply be asked again."""
