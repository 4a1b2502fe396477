"""Which business day an instant belongs to: local days that end at a cut-off time, whatever the clocks do. Pure.

With 23:00 in Europe/Berlin, 2026-03-28 22:59 belongs to 28 March and 23:00 to 29 March. That day ends at 23:00
of summer time: it has 23 hours, and 25 October has 25.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def business_day(instant: datetime, zone: str, cut_off: time | None) -> date:
    """Return the day an instant counts to. From local `cut_off` on (None: midnight) it is the next one."""
    day = instant.astimezone(ZoneInfo(zone)).date()
    return day + timedelta(days=1) if instant >= day_end(day, zone, cut_off) else day


def day_end(day: date, zone: str, cut_off: time | None) -> datetime:
    """Return the first instant, in UTC, that does not count to the day any more.

    A cut-off that comes twice in autumn is the first one; one that the clocks skip in spring is taken as
    standard time, so that no instant counts to two days or to none.
    """
    local = datetime.combine(day, cut_off) if cut_off is not None else datetime.combine(day + timedelta(days=1), time())
    return local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
