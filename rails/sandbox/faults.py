"""Faults on demand: the test hook that makes a rail drop, delay, garble or refuse.

Decides which calls are hit, reproducibly from a seed. Not persisted: a restart is a healthy rail.
"""

import random
from dataclasses import dataclass, field
from typing import Any

FAULT_KINDS = frozenset(
    {
        "drop_before",
        "drop_after",
        "delay",
        "error500",
        "error500_after",
        "garble",
        "refuse",
        "duplicate",
        "busy",
        "twice",
    }
)


@dataclass(slots=True, kw_only=True)
class Fault:
    """One injected fault. `rail` or `flow` None hits all; `remaining` None means for ever.

    drop_before: cut off, nothing done. drop_after: done, then cut off. delay: done, answered
    `delay_ms` later. error500: nothing done; error500_after: done. garble: done, the answer is
    noise. refuse: connection refused. duplicate: the network delivers the order twice. twice: the rail does it
    twice, tells of the first effect and corrects itself later. busy: 503
    with the rail's promise that nothing was attempted. `flow` may also be `inquire`.
    """

    rail: str | None
    flow: str | None
    kind: str
    remaining: int | None
    probability: float
    delay_ms: float
    dice: random.Random = field(repr=False)

    def hits(self, rail: str, flow: str) -> bool:
        """Tell whether this call is hit; uses up one of `remaining` if so."""
        if self.remaining == 0 or (self.rail or rail) != rail or (self.flow or flow) != flow:
            return False
        if self.dice.random() >= self.probability:
            return False
        if self.remaining is not None:
            self.remaining -= 1
        return True


class FaultPlan:
    """The faults in force, oldest first; at most one hits a call."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def inject(self, wire: dict[str, Any]) -> None:
        """Add a fault as `POST /faults` carries it.

        Raises:
            ValueError: unknown kind or unfit figures. Not retryable.
        """
        kind, count = wire.get("kind"), wire.get("count")
        probability = float(wire.get("probability", 1.0))
        if kind not in FAULT_KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(FAULT_KINDS))}")
        if not 0.0 <= probability <= 1.0 or not (count is None or (type(count) is int and count > 0)):
            raise ValueError("probability must lie in [0, 1] and count must be a positive integer")
        self._faults.append(
            Fault(
                rail=wire.get("rail"),
                flow=wire.get("flow"),
                kind=kind,
                remaining=count,
                probability=probability,
                delay_ms=float(wire.get("delay_ms", 0.0)),
                dice=random.Random(wire.get("seed", 0)),
            )
        )

    def draw(self, rail: str, flow: str) -> Fault | None:
        """Return the fault that hits this call, if any."""
        if not self._faults:
            return None
        self._faults = [fault for fault in self._faults if fault.remaining != 0]
        return next((fault for fault in self._faults if fault.hits(rail, flow)), None)

    def clear(self) -> None:
        """Make every rail healthy."""
        self._faults = []

    def document(self) -> list[dict[str, Any]]:
        """Return the faults in force."""
        names = ("rail", "flow", "kind", "remaining", "probability", "delay_ms")
        return [{name: getattr(fault, name) for name in names} for fault in self._faults if fault.remaining != 0]
