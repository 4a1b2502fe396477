"""Reading objects back from the books, for runs that go on where another one ended."""

from psycopg_pool import AsyncConnectionPool
from temporalio import activity

from domain.ledger import RecordKind
from workflows.ports import FeeStanding, ReadFeeStanding, ReadObject, RecordPort, StoredObject

_TABLES = {
    RecordKind.CHARGE: "charges",
    RecordKind.REFUND: "refunds",
    RecordKind.PAYOUT: "payouts",
    RecordKind.DISPUTE: "disputes",
}

_FEE_STANDING = """
SELECT r.version, r.document, coalesce(c.document #>> '{pricing,refund_fee}', 'none'), (c.document ->> 'fee')::bigint,
    c.amount_captured, s.refunded, s.returned, s.sequence
FROM refunds r JOIN charges c ON c.id = r.charge_id, LATERAL (
    SELECT coalesce(sum(o.amount_minor) FILTER (WHERE o.status = 'succeeded'), 0)::bigint AS refunded,
        coalesce(sum((o.document ->> 'fee_returned')::bigint), 0)::bigint AS returned,
        coalesce(max((o.document ->> 'fee_return_sequence')::integer), 0) AS sequence
    FROM refunds o WHERE o.charge_id = c.id
) s
WHERE r.id = %(refund)s AND c.id = %(charge)s
"""


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

    @activity.defn(name="read_fee_standing")
    async def read_fee_standing(self, request: ReadFeeStanding) -> FeeStanding:
        """Return how a refund's charge stands with its fee. See `RecordPort.read_fee_standing`."""
        named = {"refund": request.refund_id, "charge": request.charge_id}
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_FEE_STANDING, named)).fetchone()
        if row is None:
            raise LookupError(f"no refund {request.refund_id} of {request.charge_id}")
        return FeeStanding(
            refund=StoredObject(version=row[0], document=row[1]),
            policy=row[2],
            fee_minor=row[3],
            captured_minor=row[4],
            refunded_minor=row[5],
            returned_minor=row[6],
            sequence=row[7],
        )
