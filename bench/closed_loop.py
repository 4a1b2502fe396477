"""The closed loop: N operations in flight, each client starts its next when its last has ended.

Decides when a cell of the benchmark begins and ends and what is counted; an operation times itself,
so that checking its answer is not part of what is measured.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement: a case at a number in flight, for `seconds`, or for `count` operations if that is set."""

    case: str
    in_flight: int
    seconds: float
    count: int | None = None

    def __post_init__(self) -> None:
        assert self.in_flight >= 1 and self.seconds > 0 and (self.count is None or self.count >= 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One finished operation. `rail_ms` is what the rail itself took; `error` names a wrong answer."""

    latency_ms: float
    rail_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRun:
    """What one cell measured; `rail_ms` is in the order of `latencies_ms`, or empty where there is no rail."""

    elapsed_seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    rail_ms: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_samples(cls, samples: Sequence[Sample], elapsed_seconds: float) -> "CellRun":
        """Sort samples into measured ones and errors, which count in no latency and no throughput."""
        good = [sample for sample in samples if sample.error is None]
        return cls(
            elapsed_seconds=elapsed_seconds,
            latencies_ms=[round(sample.latency_ms, 3) for sample in good],
            rail_ms=[round(sample.rail_ms, 3) for sample in good if sample.rail_ms is not None],
            errors=dict(Counter(sample.error for sample in samples if sample.error is not None)),
        )

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "CellRun":
        """Return what another process measured and sent as JSON."""
        return cls(**document)


Operation = Callable[[], Awaitable[Sample]]
Say = Callable[[str], None]
"""Told what goes on."""


async def run_closed_loop(clients: Sequence[Operation], cell: Cell) -> CellRun:
    """Let every client run operations until the time is up or the count is reached.

    What is in flight when the time is up is finished and counted; the clock stops with the last one.
    """
    assert len(clients) == cell.in_flight
    tickets = _tickets(cell)
    samples: list[Sample] = []
    started = time.perf_counter()

    async def client(operation: Operation) -> None:
        for _ in tickets:
            samples.append(await operation())

    await asyncio.gather(*(client(operation) for operation in clients))
    return CellRun.of_samples(samples, time.perf_counter() - started)


def _tickets(cell: Cell) -> Iterator[int]:
    """Yield one ticket per operation that may still begin; shared by all clients of a cell."""
    if cell.count is not None:
        yield from range(cell.count)
        return
    deadline = time.perf_counter() + cell.seconds
    for number in itertools.count():
        if time.perf_counter() >= deadline:
            return
        yield number
