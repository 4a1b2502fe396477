"""Care for the ledger's periods as an activity: `ledger/periods.py` does the work."""

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from temporalio import activity

from ledger.periods import extend_periods
from workflows.ports import LedgerPeriodPort


class LedgerPeriodActivities(LedgerPeriodPort):
    """The port of periods over the worker's connections."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[TupleRow]]) -> None:
        self._pool = pool

    @activity.defn(name="extend_ledger_periods")
    async def extend_ledger_periods(self) -> int:
        """Make months ahead; see `LedgerPeriodPort.extend_ledger_periods`."""
        async with self._pool.connection() as connection:
            return await extend_periods(connection)
