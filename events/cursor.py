"""Reading events after a sequence number: gapless per merchant and mode, in commit order.

A sequence number is given while its row is locked and commits with the event, so whoever has read up
to n has missed nothing below n.
"""

from collections.abc import Mapping
from typing import Any

from domain.timestamps import rfc3339

_COLUMNS = "id, sequence, type, created_at, document, mode"
_AFTER = (
    f"SELECT {_COLUMNS} FROM events WHERE merchant_id = %(merchant_id)s AND mode = %(mode)s AND sequence > %(after)s"
)
_ONE = f"SELECT {_COLUMNS} FROM events WHERE id = %(id)s"

Query = tuple[str, Mapping[str, Any]]
"""SQL in psycopg's `%(name)s` style with its parameters."""


def events_after(
    merchant_id: str, mode: str, *, after: int, limit: int, event_type: str | None = None, object_id: str | None = None
) -> Query:
    """Return the query of at most `limit` events with a sequence above `after`, ascending.

    Filters leave gaps in what is shown, never in the numbers themselves.
    """
    sql = _AFTER
    if event_type is not None:
        sql += " AND type = %(type)s"
    if object_id is not None:
        sql += " AND object_id = %(object_id)s"
    parameters = {
        "merchant_id": merchant_id,
        "mode": mode,
        "after": after,
        "limit": limit,
        "type": event_type,
        "object_id": object_id,
    }
    return sql + " ORDER BY sequence LIMIT %(limit)s", parameters


def one_event(event_id: str) -> Query:
    """Return the query of one event by its id."""
    return _ONE, {"id": event_id}


def event_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as the API shows it and webhooks carry it."""
    return {
        "id": row["id"],
        "object": "event",
        "sequence": row["sequence"],
        "previous_sequence": row["sequence"] - 1,
        "type": row["type"],
        "livemode": row["mode"] == "live",
        "created_at": rfc3339(row["created_at"]),
        "data": {"object": row["document"]},
    }
