"""The audit log as it was chained and signed: enough to verify it without us."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import schemas
from api.authentication import Caller
from api.context import CoreOf
from api.reading import Row, Statement
from api.rendering import Document, list_answer
from domain.timestamps import rfc3339

router = APIRouter(prefix="/v1/audit", tags=["audit"])

SEQUENCE_MAX = 2**63 - 1
_READ = (
    "SELECT sequence, merchant_id, mode, actor, action, object_id, details, posting_key, recorded_at, previous_hash,"
    " content_hash, record_hash, key_id, signature FROM audit_records"
    " WHERE sequence > %(after)s{filter} ORDER BY sequence LIMIT %(most)s"
)
_FILTER = " AND object_id = %(object_id)s"


class AuditRecordShown(schemas.Shown):
    """One act, chained to the one before and signed; hashes and signature as hex."""

    object: Literal["audit_record"]
    sequence: int
    merchant_id: str | None
    mode: str | None
    actor: str
    action: str
    object_id: str | None
    details: dict[str, Any]
    posting_key: str
    recorded_at: str
    previous_hash: str
    content_hash: str
    record_hash: str
    key_id: str | None
    signature: str | None


@router.get("/records", responses=schemas.listing(AuditRecordShown))
async def list_audit_records(
    principal: Caller,
    core: CoreOf,
    after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX, description="The last sequence already seen.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    object_id: Annotated[str | None, Query(max_length=400, pattern=r"^[A-Za-z0-9_./:-]+$")] = None,
) -> Response:
    """Return audit records, oldest first: the merchant's own, or with an admin key the whole chain."""
    sql = _READ.format(filter=_FILTER if object_id is not None else "")
    parameters = {"after": after, "object_id": object_id, "most": limit + 1}
    (rows,) = await core.reads.rows(principal.scope, Statement(sql, parameters))
    return list_answer([_shown(row) for row in rows[:limit]], len(rows) > limit)


def _shown(row: Row) -> Document:
    return {
        "object": "audit_record",
        "sequence": row["sequence"],
        "merchant_id": row["merchant_id"],
        "mode": row["mode"],
        "actor": row["actor"],
        "action": row["action"],
        "object_id": row["object_id"],
        "details": row["details"],
        "posting_key": row["posting_key"],
        "recorded_at": rfc3339(row["recorded_at"]),
        "previous_hash": row["previous_hash"].hex(),
        "content_hash": row["content_hash"].hex(),
        "record_hash": row["record_hash"].hex(),
        "key_id": row["key_id"],
        "signature": row["signature"].hex() if row["signature"] is not None else None,
    }
