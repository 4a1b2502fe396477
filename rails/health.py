"""Circuit breaker of each rail: a pure state machine over outcomes and an injected clock.

Decides when a rail is left out of route plans and when it is tried again. Only NOT_ATTEMPTED and
UNKNOWN are failures: a decline is a rail at work. State is of one process and is not persisted.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from domain.rail import Outcome

Clock = Callable[[], float]

FAILURES = frozenset({Outcome.NOT_ATTEMPTED, Outcome.UNKNOWN})


class Standing(StrEnum):
    """What routing makes of a rail: use it, use it as a probe, or leave it out."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a breaker opens: `failures_min` and `failure_share` of the calls of `window_seconds`.

    After `open_seconds` it lets `probes_max` orders through at a time and closes after
    `probes_to_close` successes in a row; one failed probe opens it again.
    """

    window_seconds: float = 30.0
    failures_min: int = 10
    failure_share: float = 0.5
    open_seconds: float = 5.0
    probes_max: int = 1
    probes_to_close: int = 2

    def __post_init__(self) -> None:
        assert self.failures_min >= 1 and 0.0 < self.failure_share <= 1.0
        assert self.probes_max >= 1 and self.probes_to_close >= 1


class CircuitBreaker:
    """The breaker of one rail. One event loop only; the clock is monotonic, in seconds."""

    CALLS_KEPT_MAX = 200

    def __init__(self, settings: BreakerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._calls: deque[tuple[float, bool]] = deque(maxlen=self.CALLS_KEPT_MAX)
        self._opened_at: float | None = None
        self._probes: deque[float] = deque()
        self._probe_successes = 0

    def standing(self) -> Standing:
        """Return what the rail is good for now. Changes nothing."""
        if self._opened_at is None:
            return Standing.CLOSED
        now = self._clock()
        if now - self._opened_at < self._settings.open_seconds:
            return Standing.OPEN
        under_way = sum(1 for started in self._probes if now - started < self._settings.open_seconds)
        return Standing.HALF_OPEN if under_way < self._settings.probes_max else Standing.OPEN

    def note_sent(self) -> None:
        """Note that an order is on its way; while half open it takes up a probe's place.

        A probe that never reports gives its place back after `open_seconds`.
        """
        if self._opened_at is not None:
            self._probes.append(self._clock())

    def record(self, outcome: Outcome) -> None:
        """Take in how an order went."""
        now, failed = self._clock(), outcome in FAILURES
        if self._opened_at is not None:
            self._record_probe(now, failed)
            return
        self._calls.append((now, failed))
        while self._calls and now - self._calls[0][0] > self._settings.window_seconds:
            self._calls.popleft()
        failures = sum(failed for _, failed in self._calls) if failed else 0
        if failures >= self._settings.failures_min and failures >= self._settings.failure_share * len(self._calls):
            self._open(now)

    def _record_probe(self, now: float, failed: bool) -> None:
        assert self._opened_at is not None
        if self._probes:
            self._probes.popleft()
        if now - self._opened_at < self._settings.open_seconds:
            return  # an order sent before the breaker opened, or a last resort: no probe
        if failed:
            self._open(now)
            return
        self._probe_successes += 1
        if self._probe_successes >= self._settings.probes_to_close:
            self._opened_at = None
            self._calls.clear()
            self._probes.clear()

    def _open(self, now: float) -> None:
        self._opened_at = now
        self._probe_successes = 0
        self._probes.clear()


class RailHealth:
    """The breakers of all rails of a process, made as rails are first heard of."""

    def __init__(self, settings: BreakerSettings | None = None, *, clock: Clock = time.monotonic) -> None:
        self._settings = settings or BreakerSettings()
        self._clock = clock
        self._breakers: dict[str, CircuitBreaker] = {}

    def standings(self) -> Mapping[str, Standing]:
        """Return the standing of every rail heard of; any other is closed, that is, in use."""
        return {rail: breaker.standing() for rail, breaker in self._breakers.items()}

    def note_sent(self, rail: str) -> None:
        """Note that an order is on its way to a rail; call `record` when it is back."""
        self._breaker(rail).note_sent()

    def record(self, rail: str, outcome: Outcome) -> None:
        """Take in how an order went. Inquiries are not orders and don't count."""
        self._breaker(rail).record(outcome)

    def _breaker(self, rail: str) -> CircuitBreaker:
        breaker = self._breakers.get(rail)
        if breaker is None:
            breaker = self._breakers[rail] = CircuitBreaker(self._settings, self._clock)
        return breaker
