"""How likely a rail approves an order like this one: decayed counts by segment, shrunk towards the wider one.

Decides which outcomes say something about the rail. A hard decline, a wrong expiry date or a wish for
authentication is about the card and would have come from any rail, so only approvals and soft declines
count. An order that another rail declined softly before is another population: it is a segment of its
own, or the rails that only see leftovers would look bad.

The posterior of a segment is a Beta whose prior is the wider segment's mean, worth so many attempts:

    rail's prior → rail → + brand and country → + amount band
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from domain.currencies import EXPONENTS

PRIOR_STRENGTH = 400.0
"""A rail's prior counts as much as this many attempts: routes don't flip over a handful of declines."""

SEGMENT_STRENGTH = 80.0
"""The wider segment counts as much as this many attempts in the narrower one."""

RETRY_STRENGTH = 40.0
RETRY_SHARE = 0.5
"""Before anything was learned, an order that was declined softly elsewhere is half as likely to pass."""

HALF_LIFE_SECONDS = 86_400.0
"""A day-old outcome counts half."""

_BANDS = ((20, "under 20"), (100, "20 to 100"), (500, "100 to 500"))
_TOP_BAND = "500 and more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What an order has in common with others. Empty: not known. `retry`: another rail declined it softly."""

    brand: str = ""
    country: str = ""
    band: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """A Beta posterior of P(approve) by its mean and its strength in attempts."""

    mean: float
    strength: float

    def __post_init__(self) -> None:
        assert 0.0 < self.mean < 1.0 and self.strength > 0.0

    @property
    def deviation(self) -> float:
        """Return the posterior's standard deviation: how little is known."""
        return math.sqrt(self.mean * (1.0 - self.mean) / (self.strength + 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayedCounts:
    """Outcomes of one rail and segment, each weighed by its age at `at_seconds`."""

    rail: str
    segment: Segment
    approved: float
    declined_soft: float
    at_seconds: float = 0.0

    def __post_init__(self) -> None:
        assert self.approved >= 0.0 and self.declined_soft >= 0.0


def amount_band(amount_minor: int, currency: str) -> str:
    """Return the amount's band in main units: 8420 EUR cents are in "20 to 100"."""
    main_units = amount_minor / 10 ** EXPONENTS[currency]
    return next((name for below, name in _BANDS if main_units < below), _TOP_BAND)


class ApprovalOdds:
    """What one process knows of approvals, by rail and segment. One event loop; the caller's clock in seconds."""

    def __init__(self, *, half_life_seconds: float = HALF_LIFE_SECONDS) -> None:
        assert half_life_seconds > 0.0
        self._half_life = half_life_seconds
        self._cells: dict[tuple[str, Segment], tuple[float, float, float]] = {}

    def load(self, counts: Iterable[DecayedCounts]) -> None:
        """Replace everything known by these counts, one for each rail and narrowest segment."""
        self._cells = {}
        for one in counts:
            self._add(one.rail, one.segment, one.approved, one.declined_soft, one.at_seconds)

    def record(self, rail: str, segment: Segment, *, approved: bool, at_seconds: float) -> None:
        """Take in one outcome: an approval, or a soft decline."""
        self._add(rail, segment, float(approved), float(not approved), at_seconds)

    def odds(self, rail: str, segment: Segment, *, prior: float, at_seconds: float) -> Odds:
        """Return P(approve) of an order of this segment, given the rail's prior from its contract.

        Prior 0.94 worth 400 attempts, then 90 approved and 10 declined just now, no brand or country known:
        (376 + 90) / (400 + 100) = 0.932.
        """
        assert 0.0 < prior < 1.0
        mean, strength = prior, PRIOR_STRENGTH
        if segment.retry:
            mean, strength = prior * RETRY_SHARE, RETRY_STRENGTH
        for place, wider in enumerate(_widening(segment)):
            strength = strength if place == 0 else SEGMENT_STRENGTH
            approved, declined = self._counted(rail, wider, at_seconds)
            mean = (mean * strength + approved) / (strength + approved + declined)
            strength += approved + declined
        return Odds(mean=mean, strength=strength)

    def _add(self, rail: str, segment: Segment, approved: float, declined: float, at_seconds: float) -> None:
        for wider in _widening(segment):
            known = self._counted(rail, wider, at_seconds)
            self._cells[rail, wider] = (known[0] + approved, known[1] + declined, at_seconds)

    def _counted(self, rail: str, segment: Segment, at_seconds: float) -> tuple[float, float]:
        cell = self._cells.get((rail, segment))
        if cell is None:
            return 0.0, 0.0
        # A clock that steps back makes nothing count more than it did.
        faded = 0.5 ** (max(0.0, at_seconds - cell[2]) / self._half_life)
        return cell[0] * faded, cell[1] * faded


def _widening(segment: Segment) -> tuple[Segment, ...]:
    """Return the segments an order belongs to, widest first; a segment is named once."""
    whole = Segment(retry=segment.retry)
    card = Segment(retry=segment.retry, brand=segment.brand, country=segment.country)
    return tuple(dict.fromkeys((whole, card, segment)))
