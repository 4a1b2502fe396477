"""One fixed time of day in a time zone: which instant it is on each day, whatever clocks do there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_WRITTEN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTime:
    """A time of day. Every day has exactly one instant of it, later than the day before's.

    A time that a change of clocks leaves out is read by the offset before the change (01:30 in London on the last
    Sunday of March is 01:30 UTC, shown there as 02:30); of a time that comes twice the first is meant.
    """

    hour: int
    minute: int
    zone: str

    def __post_init__(self) -> None:
        assert 0 <= self.hour < 24 and 0 <= self.minute < 60

    def instant(self, day: date) -> datetime:
        """Return the instant, in UTC."""
        local = datetime(day.year, day.month, day.day, self.hour, self.minute, tzinfo=ZoneInfo(self.zone))
        return local.astimezone(UTC)

    def day_of(self, at: datetime) -> date | None:
        """Return the day whose instant `at` is; None for any other instant."""
        day = at.astimezone(ZoneInfo(self.zone)).date()
        # A time that was left out is shown as a later one, near midnight even as one of the next day.
        near = (day, day - timedelta(days=1))
        return next((one for one in near if self.instant(one) == at), None)

    def latest(self, now: datetime) -> Iterator[date]:
        """Yield the days whose instant has come, the latest first, without end."""
        day = now.astimezone(ZoneInfo(self.zone)).date() + timedelta(days=1)
        while self.instant(day) > now:
            day -= timedelta(days=1)
        while True:
            yield day
            day -= timedelta(days=1)


def read_fixed_time(written: str, zone: str) -> FixedTime:
    """Return the time of `HH:MM` in an IANA time zone.

    Raises:
        ValueError: it is no time of day, or there is no such zone. Not retryable.
    """
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise ValueError("a time of day is written HH:MM")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("there is no such time zone; Europe/London is one") from error
    return FixedTime(hour=int(found[1]), minute=int(found[2]), zone=zone)
