"""What is not final yet, across kinds: what each object waits for, since when, and where its run is to be found.

One statement over the tables' status indexes; costs in proportion to what is open. Decides what counts as final
and how a waiting is called; acting on it is `api/operations.py`.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from api.reading import Row, Statement
from api.rendering import Document

OPEN: dict[str, tuple[str, tuple[str, ...]]] = {
    "charge": ("charges", ("processing", "requires_action", "authorized", "captured", "unknown")),
    "refund": ("refunds", ("processing", "pending", "unknown")),
    "payout": ("payouts", ("processing", "unknown")),
    "transfer": ("transfers", ("processing", "pending")),
    "dispute": (
        "disputes",
        ("warning_needs_response", "warning_under_review", "needs_response", "under_review"),
    ),
    "orphan": ("exceptions", ("open",)),
}
"""kind -> (table, statuses that are not final). An orphan is an exception of that kind."""

_WHY = """
    CASE WHEN o.document ->> 'held_by' IS NOT NULL THEN o.document ->> 'held_by'
        WHEN o.status = 'requires_action' THEN 'customer_step'
        WHEN o.status = 'authorized' AND o.document ->> 'next_check_at' IS NULL THEN 'capture'
        WHEN o.status = 'captured' THEN 'settlement'
        WHEN o.status IN ('unknown', 'authorized') THEN 'rail_outcome_unknown'
        WHEN {kind} = 'transfer' AND o.status = 'pending' THEN 'post_or_void'
        WHEN o.status LIKE '%%needs_response' THEN 'evidence'
        WHEN o.status LIKE '%%under_review' THEN 'issuer'
        WHEN {kind} = 'orphan' AND o.document -> 'orphan' ->> 'refused' IS NOT NULL THEN 'operator'
        WHEN o.document ->> 'next_check_at' IS NOT NULL THEN 'rail'
        ELSE 'in_progress' END"""
_SELECT = """
    SELECT {kind} AS kind, o.id, o.merchant_id, o.mode, o.status, o.document, o.created_at,
        """
_SELECT += (
    _WHY
    + """ AS why
    FROM {table} o WHERE o.status = ANY ({statuses}){more}"""
)
_ALL = """
    SELECT s.kind, s.id, s.merchant_id, s.mode, s.status, s.why, s.document ->> 'rail' AS rail,
        s.document ->> 'amount' AS amount, s.document ->> 'currency' AS currency,
        s.document ->> 'next_check_at' AS next_check_at, s.document ->> 'workflow_id' AS workflow_id,
        s.document -> 'unknown' -> 'inquiries' -> -1 ->> 'rail_key' AS asked_key,
        {stamp_since} AS since, {stamp_created} AS created_at, a.document AS attempt
    FROM ({kinds}) s
    LEFT JOIN LATERAL (SELECT e.created_at FROM events e WHERE e.object_id = s.id
        ORDER BY e.object_version DESC LIMIT 1) e ON true
    LEFT JOIN LATERAL (SELECT t.document FROM attempts t WHERE t.operation_id = s.id
        ORDER BY (t.document ->> 'number')::integer DESC LIMIT 1) a ON true
    WHERE coalesce(e.created_at, s.created_at) <= now() - %(older_than)s * interval '1 second'{after}
    ORDER BY s.created_at, s.id LIMIT %(most)s
"""
_STAMP = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckQuestion:
    """Which open objects, oldest first: of a kind, in a status, waiting for at least so many seconds, after an id."""

    kind: str | None = None
    status: str | None = None
    older_than_seconds: int = 0
    starting_after: str | None = None
    limit: int = 10
    object_id: str | None = None


def stuck_statement(question: StuckQuestion) -> Statement:
    """Return the statement that answers the question with one row more than its limit."""
    parameters: dict[str, Any] = {"older_than": question.older_than_seconds, "most": question.limit + 1}
    kinds = [question.kind] if question.kind is not None else list(OPEN)
    parts = []
    for kind in kinds:
        table, statuses = OPEN[kind]
        more = " AND o.document ->> 'kind' = 'orphan'" if kind == "orphan" else ""
        if question.object_id is not None:
            more += " AND o.id = %(id)s"
            parameters["id"] = question.object_id
        if question.status is not None:
            more += " AND o.status = %(status)s"
            parameters["status"] = question.status
        listed = "ARRAY[" + ", ".join(f"'{status}'" for status in statuses) + "]"
        parts.append(_SELECT.format(kind=f"'{kind}'", table=table, statuses=listed, more=more))
    after = ""
    if question.starting_after is not None:
        before = " UNION ALL ".join(f"SELECT created_at FROM {OPEN[kind][0]} WHERE id = %(after)s" for kind in kinds)
        after = f" AND (s.created_at, s.id) > ((SELECT max(created_at) FROM ({before}) b), %(after)s)"
        parameters["after"] = question.starting_after
    sql = _ALL.format(
        kinds=" UNION ALL ".join(parts),
        after=after,
        stamp_since=_STAMP.format("coalesce(e.created_at, s.created_at)"),
        stamp_created=_STAMP.format("s.created_at"),
    )
    return Statement(sql, parameters)


def stuck_document(row: Row, *, ui_url: str | None, namespace: str) -> Document:
    """Return one open object as the list shows it; `temporal_url` is null where no UI is known."""
    attempt = row["attempt"]
    workflow_id = row["workflow_id"]
    link = None
    if ui_url is not None and workflow_id is not None:
        link = f"{ui_url.rstrip('/')}/namespaces/{quote(namespace)}/workflows/{quote(workflow_id, safe='')}"
    return {
        "object": "stuck_operation",
        "kind": row["kind"],
        "id": row["id"],
        "merchant": row["merchant_id"],
        "mode": row["mode"],
        "status": row["status"],
        "why": row["why"],
        "since": row["since"],
        "next_check_at": row["next_check_at"],
        "rail": row["rail"],
        "amount": int(row["amount"]) if row["amount"] is not None else None,
        "currency": row["currency"],
        "attempt": None
        if attempt is None
        else {"number": attempt["number"], "rail_key": attempt["rail_key"], "outcome": attempt["outcome"]},
        "workflow_id": workflow_id,
        "temporal_url": link,
        "created_at": row["created_at"],
    }


def order_keys(row: Row) -> list[str]:
    """Return the rail keys of the orders an open object may be waiting for."""
    attempt = row["attempt"]
    keys = [row["asked_key"]] if row["asked_key"] is not None else []
    if attempt is not None and attempt["outcome"] in ("sent", "unknown", "pending"):
        keys.append(attempt["rail_key"])
    if row["why"] == "payouts_stopped":
        keys.append(f"{row['id']}:{attempt['number'] if attempt is not None else 1}")
    return list(dict.fromkeys(keys))


def owner_statement(kind: str, object_id: str) -> Statement:
    """Return the look-up of whose an object is, whatever its status."""
    table, _ = OPEN[kind]
    return Statement(f"SELECT id, merchant_id, mode FROM {table} WHERE id = %(id)s", {"id": object_id})
