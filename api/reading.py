"""Reads under row level security, each set of statements in one round trip.

`set_config(..., true)` and the statements go out in one pipeline, which PostgreSQL runs as one
transaction: the settings hold for exactly these statements and nothing of them stays behind.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from psycopg import AsyncConnection as DriverConnection
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.identifiers import Mode

Row = dict[str, Any]

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
        self._pipelined = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def rows(self, scope: ReadScope, *statements: Statement) -> list[list[Row]]:
        """Return each statement's rows.

        Raises:
            psycopg.OperationalError, sqlalchemy.exc.DBAPIError: the database is away. Retryable.
        """
        async with self._pipelined.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = cast("DriverConnection[Any]", raw.driver_connection)
            try:
                cursors = [driver.cursor(row_factory=dict_row) for _ in statements]
                async with driver.pipeline():
                    await driver.execute(_SCOPE, scope.settings())
                    for cursor, statement in zip(cursors, statements, strict=True):
                        await cursor.execute(cast("Any", statement.sql), statement.parameters)
                return [await cursor.fetchall() for cursor in cursors]
            except BaseException:
                # Whatever broke the pipeline, this connection's state is not to be reasoned about.
                await connection.invalidate()
                raise

    async def first(self, scope: ReadScope, statement: Statement) -> Row | None:
        """Return the statement's first row, or None."""
        (rows,) = await self.rows(scope, statement)
        return rows[0] if rows else None

    @asynccontextmanager
    async def connection(self, scope: ReadScope) -> AsyncIterator[DriverConnection[Any]]:
        """Give a connection in a READ COMMITTED transaction under the scope, for the ledger's read models."""
        async with self._pipelined.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = cast("DriverConnection[Any]", raw.driver_connection)
            async with driver.transaction():
                await driver.execute(_SCOPE, scope.settings())
                yield driver
