"""How a rail's answer, or its silence, is read (semantics rules 7, 8 and 11).

Decides which failures prove that nothing was done (NOT_ATTEMPTED) and which prove nothing
(UNKNOWN), and what a decline code permits next. When in doubt: UNKNOWN, and no retry.
"""

import json
from pathlib import Path
from typing import Any

import httpx

from domain.rail import DeclineClass, Outcome

# Each of these is raised before one byte of the order has left: the connection was refused, the
# name did not resolve, TLS failed, or no connection was to be had in time.
NOTHING_SENT: tuple[type[Exception], ...] = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)

# The rail turned the caller away at the door: it reads no order without proper credentials.
TURNED_AWAY_STATUSES = frozenset({401, 403})
# The rail read the order and says it can never be carried out as it stands.
UNFIT_ORDER_STATUSES = frozenset({400, 404, 405, 413, 414, 415, 422})


def _read_decline_codes() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((Path(__file__).parent / "decline_codes.json").read_text("utf-8"))
    assert document["source"] and document["as_of"], "a table of codes names its source and date"
    return document


_DECLINE_CODES = _read_decline_codes()


def classify_failure(error: Exception) -> Outcome:
    """Return what an exception of the HTTP client says about the order: never more than it proves.

    A write that broke off, a read timeout, a reset, a protocol error: the rail may have it. UNKNOWN.
    """
    return Outcome.NOT_ATTEMPTED if isinstance(error, NOTHING_SENT) else Outcome.UNKNOWN


def classify_status(status: int, *, says_not_attempted: bool, guarantees_not_attempted: bool) -> Outcome:
    """Return what a non-2xx status says about the order.

    `says_not_attempted`: the body claims that nothing was done. It counts only where the rail's
    contract guarantees it: a 5xx of a gateway in between can claim what it likes.
    A 409 (same key, other order) is UNKNOWN: something was done under this key, and not this.
    """
    if says_not_attempted and guarantees_not_attempted:
        return Outcome.NOT_ATTEMPTED
    if status in TURNED_AWAY_STATUSES:
        return Outcome.NOT_ATTEMPTED
    if status in UNFIT_ORDER_STATUSES:
        return Outcome.DECLINED
    return Outcome.UNKNOWN


def retry_after_seconds(rail: str, code: str) -> int:
    """Return how long to wait after a TRY_LATER decline. The rail's own row wins over the general one."""
    waits = _DECLINE_CODES["try_later_seconds"]
    return int(waits.get(rail, {}).get(code) or waits["*"].get(code) or waits["default"])


def classify_decline(rail: str, code: str, advice: str | None = None) -> DeclineClass:
    """Return what a decline permits next. The rail's own row wins over the general one.

    Advice may only forbid or redirect, so a known advice wins over the code; an unmapped code is
    HARD: nothing is retried that nobody has looked at.
    """
    if advice in _DECLINE_CODES["advice"]:
        return DeclineClass(_DECLINE_CODES["advice"][advice])
    codes = _DECLINE_CODES["codes"]
    known = codes.get(rail, {}).get(code) or codes["*"].get(code)
    return DeclineClass(known) if known else DeclineClass.HARD
