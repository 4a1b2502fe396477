"""How instants are written: RFC 3339, UTC, microseconds."""

from datetime import UTC, datetime


def rfc3339(instant: datetime | None) -> str | None:
    """Return `2026-11-22T10:15:00.000000Z`, or None for None.

    Raises:
        AssertionError: the instant has no time zone. Not retryable.
    """
    if instant is None:
        return None
    assert instant.tzinfo is not None, "instants carry a time zone"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
