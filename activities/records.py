"""Reading objects back from the books, for runs that go on where another one ended."""

from psycopg_pool import AsyncConnectionPool
from temporalio import activity

from domain.ledger import RecordKind
from workflows.ports import ReadObject, RecordPort, StoredObject

_TABLES = {
    RecordKind.CHARGE: "charges",
    RecordKind.REFUND: "refunds",
    RecordKind.PAYOUT: "payouts",
    RecordKind.DISPUTE: "disputes",
}


class RecordActivities(RecordPort):
    """The record port over the database."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    @activity.defn(name="read_object")
    async def read_object(self, request: ReadObject) -> StoredObject:
        """Return an object as it is stored now. See `RecordPort.read_object`."""
        table = _TABLES[request.kind]
        async with self._pool.connection() as connection:
            cursor = await connection.execute(f"SELECT version, document FROM {table} WHERE id = %s", (request.id,))
            row = await cursor.fetchone()
        if row is None:
            raise LookupError(f"no {request.kind} {request.id}")
        return StoredObject(version=row[0], document=row[1])
