"""A charge over HTTP beside the least and the plainest workflow, on one server, in one run.

Decides what is measured, in which order, and how rounds become one figure. Cases alternate, so that a
machine that slows down slows all of them; only ratios within one run mean anything.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.arithmetic import distribution, median_ratio, per_operation_ms, percentile, rounded
from bench.closed_loop import Cell, CellRun
from bench.cpu import CpuMeter, ProcessTree
from bench.instance import RunningInstance, running_instance
from bench.machine import provenance
from bench.peers import FOUR_ACTIVITIES, NO_OP
from bench.risk_timing import time_risk
from bench.station import Station

CHARGE = "charge over HTTP"
CASES = (NO_OP, FOUR_ACTIVITIES, CHARGE)
IN_FLIGHT = (1, 8, 32)
SETTLE_SECONDS = 0.5
"""After each cell: what an operation leaves to be done after its answer is counted to it, not to the next."""

IDLE_SECONDS = 2.0
PROMISE_MS = {"p50": 29.0, "p95": 48.0, "p99": 96.0}
"""What a charge is to take, risk included, one at a time on a small machine."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. A cell lasts `seconds_per_cell`, or `count_per_cell` operations if that is set."""

    rounds: int = 4
    seconds_per_cell: float = 5.0
    count_per_cell: int | None = None
    warm_up_seconds: float = 2.0
    risk_scores: int = 3000

    @property
    def command(self) -> str:
        """The command line that measures this much."""
        length = f"--seconds {self.seconds_per_cell:g}"
        length = length if self.count_per_cell is None else f"--count {self.count_per_cell}"
        return f"ledgerline bench end-to-end --rounds {self.rounds} {length}"


QUICK = Plan(rounds=2, seconds_per_cell=2.0, warm_up_seconds=1.0, risk_scores=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One cell with what it cost. `others_cores`: cores kept busy by processes that are not ours."""

    cell: Cell
    run: CellRun
    cpu_seconds: dict[str, float]
    others_cores: float

    @property
    def operations(self) -> int:
        """Right answers."""
        return len(self.run.latencies_ms)

    def figures(self) -> dict[str, float | None]:
        """Return this round's own figures: throughput, percentiles in ms, CPU ms per operation."""
        latencies, each = self.run.latencies_ms, per_operation_ms(self.cpu_seconds, self.operations)
        return {
            "throughput_per_second": rounded(self.operations / self.run.elapsed_seconds),
            **{f"p{percent}": percentile(latencies, percent) if latencies else None for percent in (50, 95, 99)},
            "cpu_ms": each.get("total"),
        }


def measure_end_to_end(plan: Plan, say: Say) -> dict[str, Any]:
    """Run the whole benchmark and return its document.

    Raises:
        InstanceFailure, StationFailure: something could not start or ended. Not retryable within a run.
    """
    facts = provenance(plan.command)
    say("risk scoring, alone …")
    risk = time_risk(plan.risk_scores)
    say("starting an instance of its own …")
    with running_instance() as instance:
        targets = {name: getattr(instance, name) for name in ("api_url", "test_key", "temporal_address")}
        with (
            Station("bench.load", targets, instance.folder / "load.log") as load,
            Station("bench.peers", targets, instance.folder / "peers.log") as peers,
        ):
            measured, idle_cores = _measure_cells(instance, load, peers, plan, say)
        invariants = instance.invariants()
    return {
        "suite": "end_to_end",
        **facts,
        "plan": asdict(plan),
        "promise_ms": PROMISE_MS,
        "cases": summaries(measured),
        "risk_scoring": risk,
        "idle_cores": idle_cores,
        "books": {"ok": invariants["ok"], "entries_checked": invariants.get("entries_checked")},
    }


def _measure_cells(
    instance: RunningInstance, load: Station, peers: Station, plan: Plan, say: Say
) -> tuple[list[Measured], dict[str, float]]:
    stations = {CHARGE: load, NO_OP: peers, FOUR_ACTIVITIES: peers}
    clients = {"bench client": ProcessTree(load.pid), "peers' worker": ProcessTree(peers.pid)}
    meter = CpuMeter({**instance.parts, **clients})
    say("warming up …")
    for case in CASES:
        for in_flight in (8, max(IN_FLIGHT)):
            stations[case].run(Cell(case=case, in_flight=in_flight, seconds=plan.warm_up_seconds / 2))
    time.sleep(SETTLE_SECONDS)
    meter.restart()
    time.sleep(IDLE_SECONDS)
    idle_cores = {name: rounded(seconds / IDLE_SECONDS) for name, seconds in meter.spent()[0].items()}
    measured = []
    for number in range(1, plan.rounds + 1):
        for in_flight in IN_FLIGHT:
            say(f"round {number} of {plan.rounds}, {in_flight} in flight …")
            for case in CASES:
                cell = Cell(case=case, in_flight=in_flight, seconds=plan.seconds_per_cell, count=plan.count_per_cell)
                measured.append(_measure(stations[case], cell, meter))
    return measured, idle_cores


def _measure(station: Station, cell: Cell, meter: CpuMeter) -> Measured:
    meter.restart()
    started = time.perf_counter()
    run = station.run(cell)
    time.sleep(SETTLE_SECONDS)
    cpu_seconds, others_seconds = meter.spent()
    elapsed_seconds = time.perf_counter() - started
    return Measured(cell=cell, run=run, cpu_seconds=cpu_seconds, others_cores=rounded(others_seconds / elapsed_seconds))


def summaries(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return one summary per case and number in flight, floor first, with ratios to the floor."""
    rounds = {
        (case, in_flight): [m for m in measured if (m.cell.case, m.cell.in_flight) == (case, in_flight)]
        for in_flight in IN_FLIGHT
        for case in CASES
    }
    return [
        _summary(case, in_flight, cells, rounds[NO_OP, in_flight])
        for (case, in_flight), cells in rounds.items()
        if cells
    ]


def _summary(case: str, in_flight: int, cells: Sequence[Measured], floor: Sequence[Measured]) -> dict[str, Any]:
    runs = [cell.run for cell in cells]
    operations = sum(cell.operations for cell in cells)
    latencies = [latency for run in runs for latency in run.latencies_ms]
    rails = [rail for run in runs for rail in run.rail_ms]
    errors: dict[str, int] = {}
    for run in runs:
        for error, count in run.errors.items():
            errors[error] = errors.get(error, 0) + count
    cpu_seconds = {name: sum(cell.cpu_seconds[name] for cell in cells) for name in cells[0].cpu_seconds}
    own, floors = [cell.figures() for cell in cells], [cell.figures() for cell in floor]
    core_added = [latency - rail for latency, rail in zip(latencies, rails, strict=True)] if rails else []
    return {
        "case": case,
        "in_flight": in_flight,
        "operations": operations,
        "errors": errors,
        "throughput_per_second": rounded(operations / sum(run.elapsed_seconds for run in runs)),
        "latency_ms": distribution(latencies),
        "rail_ms": distribution(rails),
        "core_added_ms": distribution(core_added),
        "cpu_ms_per_operation": per_operation_ms(cpu_seconds, operations),
        "ratio_to_floor": {
            name: median_ratio([figures[name] for figures in own], [figures[name] for figures in floors])
            for name in own[0]
        },
        "others_cores": max(cell.others_cores for cell in cells),
        "rounds": own,
    }
