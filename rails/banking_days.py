"""When money that is ordered now is final: a rail's cut-off time and its bank holidays.

Decides the wait a rail is weighed with. A rail without a cut-off works around the clock.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

DAYS_LOOKED_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """Orders given after `at` (local to `zone`) or on a day without banking count as given when it next opens.

    `calendar`: a financial calendar of the `holidays` package, such as ECB (the TARGET days) or NYSE.
    """

    at: time
    zone: str
    opens_at: time = time(0)
    calendar: str = "ECB"

    def __post_init__(self) -> None:
        ZoneInfo(self.zone)
        assert self.opens_at < self.at
        assert self.calendar in holidays.list_supported_financial()


def is_banking_day(day: date, calendar: str) -> bool:
    """Tell whether banks of this calendar work: no weekend, no holiday. 2026-04-03, Good Friday, is none in ECB."""
    return day.weekday() < 5 and day not in _holidays_of(calendar)


def seconds_until_taken(cut_off: CutOff, now: datetime) -> float:
    """Return how long an order of now waits for the rail's next working hours, 0 within them.

    Thursday 2 April 2026, 17:00 in Berlin, cut-off 16:00: Friday and Monday are holidays, so until Tuesday.
    """
    zone = ZoneInfo(cut_off.zone)
    local = now.astimezone(zone)
    for days in range(DAYS_LOOKED_MAX):
        day = local.date() + timedelta(days=days)
        if not is_banking_day(day, cut_off.calendar):
            continue
        opens = datetime.combine(day, cut_off.opens_at, zone)
        closes = datetime.combine(day, cut_off.at, zone)
        if local < closes:
            return max(0.0, opens.timestamp() - now.timestamp())
    raise AssertionError(f"{cut_off.calendar} has no banking day in {DAYS_LOOKED_MAX} days")


@lru_cache(maxsize=32)
def _holidays_of(calendar: str) -> holidays.HolidayBase:
    return holidays.financial_holidays(calendar)
