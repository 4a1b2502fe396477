"""What was agreed with each rail about its files. A TOML file, read again when it changes.

[card_gamma]
zone = "Europe/Berlin"
cut_off = "23:00"
days_due = 1
grace_hours = 12
tolerance = 2
tolerance_by_currency = { JPY = 0 }
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.identifiers import Mode
from domain.money import is_currency
from reconciliation.business_days import business_day, day_end

GRACE_HOURS = {Mode.LIVE: 24, Mode.TEST: 0}
"""How long after the end of what a file covers missing lines are waited for, where nothing was agreed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RailTerms:
    """One rail's terms. `cut_off`: local time at which its business day ends, None for midnight.

    `tolerance_minor`: the largest difference, either way, that is taken as the rail's cost; by currency where it is
    named. `days_due`: how many days after its own a movement may be in a file before it is late. `grace_hours`: None
    for what the mode has.
    """

    zone: str = "UTC"
    cut_off: time | None = None
    days_due: int = 0
    grace_hours: int | None = None
    tolerance_minor: int = 0
    tolerances: Mapping[str, int] = field(default_factory=dict)

    def tolerance(self, currency: str) -> int:
        """Return the tolerance in minor units of a currency."""
        return self.tolerances.get(currency, self.tolerance_minor)

    def grace(self, mode: Mode) -> timedelta:
        """Return how long a line may be missing before that is an exception."""
        return timedelta(hours=GRACE_HOURS[mode] if self.grace_hours is None else self.grace_hours)

    def day(self, instant: datetime) -> date:
        """Return the business day of an instant."""
        return business_day(instant, self.zone, self.cut_off)

    def end(self, day: date) -> datetime:
        """Return when a business day is over."""
        return day_end(day, self.zone, self.cut_off)

    def is_late(self, booked_at: datetime, moved_at: datetime) -> bool:
        """Tell whether a booking counts to a later day than its movement was due on."""
        return self.day(booked_at) > self.day(moved_at) + timedelta(days=self.days_due)


class TermsFile:
    """Implements the terms over one file, which need not exist; every rail without a table has the defaults."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._terms: dict[str, RailTerms] = {}

    def of(self, rail: str) -> RailTerms:
        """Return a rail's terms as they are now.

        Raises:
            ValueError: the file is not what it should be. Retryable, once somebody has put it right.
        """
        if self._path is not None:
            try:
                state = self._path.stat()
            except FileNotFoundError:
                return RailTerms()
            seen = (state.st_mtime_ns, state.st_ino, state.st_size)
            if seen != self._seen:
                self._terms, self._seen = parse_terms(self._path.read_text("utf-8")), seen
        return self._terms.get(rail, RailTerms())


def parse_terms(text: str) -> dict[str, RailTerms]:
    """Return terms by rail.

    Raises:
        ValueError: it is not TOML, or a table holds something else than terms. Not retryable.
    """
    try:
        document = tomllib.loads(text)
        return {rail: _terms(rail, table) for rail, table in document.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the terms of reconciliation are not TOML: {error}") from error


def _terms(rail: str, table: Any) -> RailTerms:
    if not isinstance(table, dict):
        raise ValueError(f"{rail} needs a table, [{rail}]")
    unknown = set(table) - {"zone", "cut_off", "days_due", "grace_hours", "tolerance", "tolerance_by_currency"}
    if unknown:
        raise ValueError(f"{rail}.{min(unknown)} is no term of reconciliation")
    tolerances = table.get("tolerance_by_currency", {})
    if not isinstance(tolerances, dict) or not all(map(is_currency, tolerances)):
        raise ValueError(f"{rail}.tolerance_by_currency names currencies")
    zone = table.get("zone", "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError) as error:
        raise ValueError(f"{rail}.zone is not a zone of the IANA database") from error
    return RailTerms(
        zone=zone,
        cut_off=_time(rail, table["cut_off"]) if "cut_off" in table else None,
        days_due=_whole(rail, "days_due", table.get("days_due", 0)),
        grace_hours=_whole(rail, "grace_hours", table["grace_hours"]) if "grace_hours" in table else None,
        tolerance_minor=_whole(rail, "tolerance", table.get("tolerance", 0)),
        tolerances={currency: _whole(rail, currency, most) for currency, most in tolerances.items()},
    )


def _time(rail: str, value: Any) -> time:
    try:
        found = value if isinstance(value, time) else time.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{rail}.cut_off is a time of day, 23:00") from error
    if found.tzinfo is not None or found == time():
        raise ValueError(f"{rail}.cut_off is local to its zone; without one the day ends at midnight")
    return found


def _whole(rail: str, name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 1_000_000:
        raise ValueError(f"{rail}.{name} is a whole number, not negative")
    return value
