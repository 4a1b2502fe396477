"""How often a card that was declined may be tried again: the schemes' own limits, across all rails (semantics rule 11).

Figures are in `scheme_limits.json`, with their source and date.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLimit:
    """No further attempt once `declines` of a card fall into the last `window_seconds`."""

    declines: int
    window_seconds: int

    def __post_init__(self) -> None:
        assert self.declines > 0 and self.window_seconds > 0


def _read() -> dict[str, tuple[RetryLimit, ...]]:
    document = json.loads((Path(__file__).parent / "scheme_limits.json").read_text("utf-8"))
    assert document["source"] and document["as_of"], "a table of limits names its source and date"
    return {brand: tuple(RetryLimit(**row) for row in rows) for brand, rows in document["schemes"].items()}


RETRY_LIMITS = _read()
LONGEST_WINDOW_SECONDS = max(limit.window_seconds for rows in RETRY_LIMITS.values() for limit in rows)
"""Older declines count nowhere."""
DECLINES_COUNTED_MAX = max(limit.declines for rows in RETRY_LIMITS.values() for limit in rows)
"""More recent declines than this change nothing."""


def tries_left(brand: str | None, decline_ages_seconds: Sequence[float]) -> int | None:
    """Return how many more attempts of a card may be declined; None where its scheme sets no limit.

    Mastercard with 9 declines in the last day has 1 left; with 10, or with 35 in 30 days, none.
    """
    limits = RETRY_LIMITS.get(brand or "")
    if limits is None:
        return None
    return max(0, min(limit.declines - _within(decline_ages_seconds, limit.window_seconds) for limit in limits))


def _within(ages_seconds: Sequence[float], window_seconds: int) -> int:
    return sum(age < window_seconds for age in ages_seconds)
