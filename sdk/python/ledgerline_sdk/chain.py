"""The chain of hashes: each event's covers its predecessor's, so a change, a removal or another order shows.

hash = SHA-256 of (the predecessor's hash, 32 bytes) and the UTF-8 text of five lines without a final line
break: id, sequence, type, created_at, and `data.object` as PostgreSQL writes jsonb.
"""

import hashlib
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any


class ChainError(Exception):
    """An event is not what followed the one before it. `sequence` says which."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"event {sequence} does not continue the chain")
        self.sequence = sequence


def verify_chain(events: Iterable[dict[str, Any]], previous: dict[str, Any] | None = None) -> int:
    """Check consecutive events, oldest first, after `previous` if given; return how many were checked.

    Raises:
        ChainError: the first one that does not fit. Not retryable.
    """
    count = 0
    for event in events:
        follows = previous is None or (
            event["sequence"] == previous["sequence"] + 1 and event["previous_hash"] == previous["hash"]
        )
        if not follows or event_hash(event) != event["hash"]:
            raise ChainError(event["sequence"])
        previous = event
        count += 1
    return count


def event_hash(event: dict[str, Any]) -> str:
    """Return the hash an event should have, in hex."""
    lines = (
        event["id"],
        str(event["sequence"]),
        event["type"],
        event["created_at"],
        jsonb_text(event["data"]["object"]),
    )
    return hashlib.sha256(bytes.fromhex(event["previous_hash"]) + "\n".join(lines).encode()).hexdigest()


def jsonb_text(value: Any) -> str:
    """Return a JSON value as PostgreSQL writes jsonb: keys by length and then bytes, `, ` and `: `, plain numbers."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return "{" + ", ".join(f"{_text(name)}: {jsonb_text(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(jsonb_text, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    # 1e-05 is written 0.00001: through the shortest text that reads back as the same number.
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
