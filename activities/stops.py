"""Whether payouts of a currency are stopped, as the ledger knows it."""

from psycopg_pool import AsyncConnectionPool


async def are_payouts_stopped(pool: AsyncConnectionPool, currency: str) -> bool:
    """Tell whether payouts of a currency are stopped now; the ledger asks the same function. Reads only."""
    async with pool.connection() as connection:
        row = await (await connection.execute("SELECT payouts_stopped(%s)", (currency,))).fetchone()
    assert row is not None
    return bool(row[0])
