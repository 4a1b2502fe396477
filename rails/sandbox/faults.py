"""Faults on demand: the test hook that makes a rail drop, delay, garble, lie or refuse.

Decides which calls are hit, reproducibly from a seed. The plan is not persisted (a restart is a healthy rail);
every hit is told to `on_hit`, so that what really happened can be counted across restarts.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ORDER_FAULTS = frozenset({"drop_before", "drop_after", "delay", "error500", "error500_after", "garble", "refuse"})
ORDER_FAULTS |= {"duplicate", "twice", "busy", "outage", "slow_recovery"}
INQUIRY_FAULTS = frozenset({"lie_not_found", "lie_pending"})
CALLBACK_FAULTS = frozenset({"callback_late", "callback_twice", "callback_lost", "callback_unconfirmed"})
FAULT_KINDS = ORDER_FAULTS | INQUIRY_FAULTS | CALLBACK_FAULTS
INQUIRY, CALLBACK = "inquire", "callback"
"""The flows of faults that are no flows of money."""

OnHit = Callable[[str, str, str], None]
"""Called with kind, rail and flow of every fault that hits."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One injected fault. `rail` or `flow` None hits all; `remaining` None means for ever.

    drop_before: cut off, nothing done. drop_after: done, then cut off. delay: done, answered
    `delay_ms` later. error500: nothing done; error500_after: done. garble: done, the answer is
    noise. refuse: connection refused. duplicate: the network delivers the order twice. twice: the
    rail does it twice, tells of the first effect and corrects itself later. busy: 503 with the
    rail's promise that nothing was attempted. outage: nobody listens for `seconds`. slow_recovery:
    for `seconds` a falling share of calls is busy. lie_not_found, lie_pending: an inquiry inside the
    rail's horizon is told so whatever happened; the next is told the truth. callback_late: told
    `delay_ms` later, so that others overtake it. callback_twice: told twice. callback_lost: not told
    this time. callback_unconfirmed: told, but the confirmation is lost.
    """

    rail: str | None
    flow: str | None
    kind: str
    remaining: int | None
    probability: float
    delay_ms: float
    since: float
    seconds: float | None
    dice: random.Random = field(repr=False)

    def is_over(self, now: float) -> bool:
        """Tell whether it can hit nothing any more."""
        return self.remaining == 0 or (self.seconds is not None and now >= self.since + self.seconds)

    def hits(self, rail: str, flow: str, now: float) -> bool:
        """Tell whether this call is hit; uses up one of `remaining` if so."""
        if self.is_over(now) or (self.rail or rail) != rail or not self._concerns(flow):
            return False
        probability = self.probability
        if self.kind == "slow_recovery" and self.seconds:
            probability *= 1 - (now - self.since) / self.seconds
        if self.dice.random() >= probability:
            return False
        if self.remaining is not None:
            self.remaining -= 1
        return True

    def _concerns(self, flow: str) -> bool:
        if self.kind in CALLBACK_FAULTS or flow == CALLBACK:
            return self.kind in CALLBACK_FAULTS and flow == CALLBACK
        if self.kind in INQUIRY_FAULTS:
            return flow == INQUIRY
        if self.kind in ("duplicate", "twice") and flow == INQUIRY:
            return False  # A question asked twice is no event.
        return (self.flow or flow) == flow


class FaultPlan:
    """The faults in force, oldest first; at most one hits a call."""

    def __init__(self, *, on_hit: OnHit | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._faults: list[Fault] = []
        self._on_hit = on_hit
        self._clock = clock

    def inject(self, wire: dict[str, Any]) -> None:
        """Add a fault as `POST /faults` carries it.

        Raises:
            ValueError: unknown kind or unfit figures. Not retryable.
        """
        kind, count, seconds = wire.get("kind"), wire.get("count"), wire.get("seconds")
        probability = float(wire.get("probability", 1.0))
        if kind not in FAULT_KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(FAULT_KINDS))}")
        if not 0.0 <= probability <= 1.0 or not (count is None or (type(count) is int and count > 0)):
            raise ValueError("probability must lie in [0, 1] and count must be a positive integer")
        if (kind in ("outage", "slow_recovery")) != (seconds is not None):
            raise ValueError("outage and slow_recovery last for `seconds`, the others for `count` calls")
        self._faults.append(
            Fault(
                rail=wire.get("rail"),
                flow=wire.get("flow"),
                kind=kind,
                remaining=count,
                probability=probability,
                delay_ms=float(wire.get("delay_ms", 0.0)),
                since=self._clock(),
                seconds=float(seconds) if seconds is not None else None,
                dice=random.Random(wire.get("seed", 0)),
            )
        )

    def draw(self, rail: str, flow: str) -> Fault | None:
        """Return the fault that hits this call, if any."""
        if not self._faults:
            return None
        now = self._clock()
        self._faults = [fault for fault in self._faults if not fault.is_over(now)]
        hit = next((fault for fault in self._faults if fault.hits(rail, flow, now)), None)
        if hit is not None and self._on_hit is not None:
            self._on_hit(hit.kind, rail, flow)
        return hit

    def clear(self) -> None:
        """Make every rail healthy."""
        self._faults = []

    def document(self) -> list[dict[str, Any]]:
        """Return the faults in force."""
        names = ("rail", "flow", "kind", "remaining", "probability", "delay_ms", "seconds")
        now = self._clock()
        return [{name: getattr(fault, name) for name in names} for fault in self._faults if not fault.is_over(now)]
