"""Trace numbers and file ids, written down before the file is sent: the same for the same order for ever.

Decides that no two orders share a file id, which is what banks refuse duplicates by. One bank of one Ledgerline.
"""

from datetime import datetime, timedelta
from string import ascii_uppercase, digits
from zoneinfo import ZoneInfo

from rails.adapters.ach.wire import Slot, identification_of
from rails.records import RailRecords

MODIFIERS = ascii_uppercase + digits
"""The file id modifier has 36 values, so 36 files a minute; the next minute's are taken when those are used up."""
MINUTES_AHEAD_MAX = 60
_SEQUENCE = 10**7


class NumbersExhaustedError(Exception):
    """An hour's file ids are all given: nothing is sent. Retryable later."""


class Numbering:
    """The numbers of one account at one bank. `odfi` are the first eight digits of the bank's routing number."""

    def __init__(self, records: RailRecords, *, rail: str, odfi: str, zone: ZoneInfo) -> None:
        self._records = records
        self._rail = rail
        self._odfi = odfi
        self._zone = zone
        self._orders: dict[str, tuple[str, Slot]] = {}

    async def find(self, rail_key: str) -> Slot | None:
        """Return the order's numbers, None if it was never about to be sent."""
        kept = await self._records.find(self._rail, rail_key)
        return None if kept is None else self._slot(kept)

    async def slot(self, rail_key: str, now: datetime) -> Slot:
        """Return the order's numbers, written down when this returns. Idempotent on the rail key.

        Raises:
            NumbersExhaustedError: no file id is left. Retryable.
        """
        kept = await self.find(rail_key)
        if kept is not None:
            return kept
        number = await self._records.next_number(self._rail, "trace") % _SEQUENCE
        minute, modifier = await self._file(now.astimezone(self._zone))
        written = {
            "identification": identification_of(rail_key),
            "trace": f"{self._odfi}{number:07d}",
            "minute": minute.isoformat(timespec="minutes"),
            "modifier": modifier,
        }
        # Two workers with one order: the first to write has it, both send the same file.
        return self._slot(await self._records.add(self._rail, rail_key, written))

    async def order_of(self, identification: str) -> tuple[str, Slot] | None:
        """Return the rail key and numbers of the order that has an identification, None where it is not ours."""
        if identification not in self._orders:
            found = await self._records.search(self._rail, {"identification": identification}, limit=1)
            if not found:
                return None
            self._orders[identification] = (found[0][0], self._slot(found[0][1]))
        return self._orders[identification]

    async def _file(self, now: datetime) -> tuple[datetime, str]:
        for ahead in range(MINUTES_AHEAD_MAX):
            minute = (now + timedelta(minutes=ahead)).replace(second=0, microsecond=0)
            # Without the offset, as the bank sees it: an hour that the end of summer time repeats is one hour of ids.
            number = await self._records.next_number(self._rail, f"files {minute:%Y-%m-%dT%H:%M}")
            if number <= len(MODIFIERS):
                return minute, MODIFIERS[number - 1]
        raise NumbersExhaustedError

    def _slot(self, kept: object) -> Slot:
        assert isinstance(kept, dict)
        return Slot(trace=kept["trace"], created_at=datetime.fromisoformat(kept["minute"]), modifier=kept["modifier"])
