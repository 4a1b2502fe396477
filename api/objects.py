"""Reading objects: one by id, or a page of a list, newest first."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic.config import JsonDict

from api.errors import Problem, not_found
from api.idempotency import shown
from api.reading import Reads, ReadScope, Statement
from api.rendering import Document

ID_PATTERN = r"^[a-z]{2,5}_[a-z0-9_]{1,120}$"
IDENTIFIER = re.compile(ID_PATTERN)
LIMIT_MOST = 100

Limit = Annotated[int, Query(ge=1, le=LIMIT_MOST, description="How many, at most.")]
DATE_TIME: JsonDict = {"format": "date-time"}
At = Annotated[
    str | None,
    Query(max_length=40, description="RFC 3339; now when it is not given.", json_schema_extra=DATE_TIME),
]
Status = Annotated[str | None, Query(pattern=r"^[a-z_]{1,30}$")]
OfCharge = Annotated[str | None, Query(pattern=r"^ch_[a-z0-9]{1,60}$", description="Only those of this charge.")]
After = Annotated[str | None, Query(pattern=ID_PATTERN, description="The id after which the page starts.")]

_TABLES = {
    "charge": "charges",
    "refund": "refunds",
    "payout": "payouts",
    "transfer": "transfers",
    "dispute": "disputes",
    "exception": "exceptions",
    "fx_quote": "fx_quotes",
    "webhook_endpoint": "webhook_endpoints",
    "reconciliation_file": "reconciliation_files",
    "reconciliation_line": "reconciliation_lines",
    "safeguarding_statement": "safeguarding_statements",
    "safeguarding_reconciliation": "safeguarding_reconciliations",
    "safeguarding_break": "safeguarding_breaks",
}
_FILTERS = {
    "status": "o.status = %(status)s",
    "charge": "o.charge_id = %(charge)s",
    "merchant_id": "o.merchant_id = %(merchant_id)s",
    "mode": "o.mode = %(mode)s",
    "currency": "o.document ->> 'currency' = %(currency)s",
    "bank": "o.document ->> 'bank' = %(bank)s",
    "since": "o.created_at >= %(since)s",
    "until": "o.created_at <= %(until)s",
}


def is_identifier(text: str) -> bool:
    """Tell whether a text can be an id at all; nothing else is sent to the database."""
    return IDENTIFIER.fullmatch(text) is not None


def check_cursor(starting_after: str | None) -> str | None:
    """Return the id a page starts after.

    Raises:
        Problem: 422, it is no id. Not retryable.
    """
    if starting_after is not None and not is_identifier(starting_after):
        raise Problem(422, "starting_after_invalid", "`starting_after` is an id.", param="starting_after")
    return starting_after


def one_statement(kind: str, object_id: str) -> Statement:
    """Return the look-up of one object's document, to be sent along with other reads."""
    return Statement(f"SELECT {shown(kind)} AS document FROM {_TABLES[kind]} o WHERE o.id = %(id)s", {"id": object_id})


def first_document(kind: str, rows: list[dict[str, Any]]) -> Document:
    """Return what `one_statement` found.

    Raises:
        Problem: 404. Not retryable.
    """
    if not rows:
        raise not_found(kind)
    document: Document = rows[0]["document"]
    return document


async def read_object(reads: Reads, scope: ReadScope, kind: str, object_id: str) -> Document:
    """Return one object's document.

    Raises:
        Problem: 404, it does not exist or belongs to somebody else. Not retryable.
    """
    if not is_identifier(object_id):
        raise not_found(kind)
    (rows,) = await reads.rows(scope, one_statement(kind, object_id))
    return first_document(kind, rows)


async def list_objects(
    reads: Reads,
    scope: ReadScope,
    kind: str,
    *,
    limit: int,
    starting_after: str | None,
    filters: Mapping[str, str | datetime | None] | None = None,
) -> tuple[list[Document], bool]:
    """Return a page of documents, newest first, and whether more follow."""
    wanted = {name: value for name, value in (filters or {}).items() if value is not None}
    conditions = [_FILTERS[name] for name in wanted]
    if check_cursor(starting_after) is not None:
        conditions.append("o.id < %(starting_after)s")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"SELECT {shown(kind)} AS document FROM {_TABLES[kind]} o{where} ORDER BY o.id DESC LIMIT %(most)s"
    parameters = {**wanted, "starting_after": starting_after, "most": limit + 1}
    (rows,) = await reads.rows(scope, Statement(sql, parameters))
    return [row["document"] for row in rows[:limit]], len(rows) > limit
