"""Reading events after a sequence number: gapless per merchant and mode, in commit order.

A sequence number is given while its row is locked and commits with the event, so whoever has read up
to n has missed nothing below n. Each event's hash covers its predecessor's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.event_types import SCHEMA_VERSIONS
from domain.timestamps import rfc3339

_COLUMNS = (
    "e.id, e.sequence, e.type, e.created_at, e.document, e.mode, e.hash, (SELECT p.hash FROM events p"
    " WHERE p.merchant_id = e.merchant_id AND p.mode = e.mode AND p.sequence = e.sequence - 1) AS previous_hash"
)
_AFTER = (
    f"SELECT {_COLUMNS} FROM events e"
    " WHERE e.merchant_id = %(merchant_id)s AND e.mode = %(mode)s AND e.sequence > %(after)s"
)
_ONE = f"SELECT {_COLUMNS} FROM events e WHERE e.id = %(id)s"
_LAST = (
    "SELECT coalesce(max(sequence), 0) AS last_sequence FROM events"
    " WHERE merchant_id = %(merchant_id)s AND mode = %(mode)s"
)
CHAIN_BEGINNING = "00" * 32
"""The `previous_hash` of the first event of a chain."""

Query = tuple[str, Mapping[str, Any]]
"""SQL in psycopg's `%(name)s` style with its parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events to show: LIKE patterns of types (None: all), an object, and the last sequence to look at."""

    patterns: Sequence[str] | None = None
    object_id: str | None = None
    until: int | None = None


EVERYTHING = EventFilter()


def events_after(merchant_id: str, mode: str, *, after: int, limit: int, wanted: EventFilter = EVERYTHING) -> Query:
    """Return the query of at most `limit` events with a sequence above `after`, ascending.

    Filters leave gaps in what is shown, never in the numbers themselves.
    """
    sql = _AFTER
    if wanted.patterns is not None:
        sql += " AND e.type LIKE ANY (%(patterns)s)"
    if wanted.object_id is not None:
        sql += " AND e.object_id = %(object_id)s"
    if wanted.until is not None:
        sql += " AND e.sequence <= %(until)s"
    parameters = {
        "merchant_id": merchant_id,
        "mode": mode,
        "after": after,
        "limit": limit,
        "patterns": None if wanted.patterns is None else list(wanted.patterns),
        "object_id": wanted.object_id,
        "until": wanted.until,
    }
    return sql + " ORDER BY e.sequence LIMIT %(limit)s", parameters


def one_event(event_id: str) -> Query:
    """Return the query of one event by its id."""
    return _ONE, {"id": event_id}


def last_sequence(merchant_id: str, mode: str) -> Query:
    """Return the query of the number of events so far, in `last_sequence`."""
    return _LAST, {"merchant_id": merchant_id, "mode": mode}


def event_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as the API shows it and webhooks carry it. Without a hash when older than the chain."""
    hashed, previous = row["hash"], row["previous_hash"]
    return {
        "id": row["id"],
        "object": "event",
        "sequence": row["sequence"],
        "previous_sequence": row["sequence"] - 1,
        "type": row["type"],
        "schema_version": SCHEMA_VERSIONS.get(row["type"], 1),
        "livemode": row["mode"] == "live",
        "created_at": rfc3339(row["created_at"]),
        "previous_hash": None if hashed is None else CHAIN_BEGINNING if previous is None else previous.hex(),
        "hash": None if hashed is None else hashed.hex(),
        "data": {"object": row["document"]},
    }


def event_body(row: Mapping[str, Any]) -> bytes:
    """Return an event as the bytes a webhook sends, the same every time it is sent."""
    return json.dumps(event_document(row), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
