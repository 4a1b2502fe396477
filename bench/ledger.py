"""The ledger suite: ours beside pgledger and the plain way, on one PostgreSQL server, alternating in one run.

Decides what is measured and in which order; only ratios within one run mean anything.
"""

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from bench.arithmetic import distribution, rounded
from bench.closed_loop import Cell, CellRun, Operation, Sample, Say, run_closed_loop
from bench.cpu import CpuMeter, ProcessTree
from bench.ledger_contenders import Contender, Leg, NaiveLedger, OurLedger, PgLedger
from bench.ledger_history import measure_history
from bench.ledger_processes import measure_processes
from bench.ledger_server import LedgerServer, ledger_server
from bench.machine import provenance

ACCOUNTS = 1_000
IN_FLIGHT = (1, 16, 1_024)
PAYMENTS_MADE = 5_000
NAIVE_IN_FLIGHT_MAX = 16
"""Beyond it the plain way does little but start again."""

HOT_CREDIT, HOT_DEBIT = "hot account, credited", "hot account, debited"
RANDOM, FOUR = "random accounts", "four movements"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlan:
    """How much is measured: a cell is one ledger, one scenario, so many in flight, for so long."""

    seconds: float
    rounds: int
    history_entries: tuple[int, ...]
    pgledger: Path | None = None
    scenarios: tuple[str, ...] = (HOT_CREDIT, HOT_DEBIT, RANDOM, FOUR)

    @property
    def command(self) -> str:
        """The command line that measures this much."""
        entries = " ".join(f"--entries {count}" for count in self.history_entries)
        sizes = f"--seconds {self.seconds:g} --rounds {self.rounds} {entries}"
        return f"ledgerline bench ledger {sizes}" + (" --pgledger CHECKOUT" if self.pgledger else "")


WHOLE = LedgerPlan(seconds=3.0, rounds=2, history_entries=(1_000_000,))
QUICK = LedgerPlan(seconds=1.0, rounds=1, history_entries=(50_000,), scenarios=(HOT_CREDIT, FOUR))


def legs_of(scenario: str, chance: random.Random) -> tuple[Leg, ...]:
    """Return the movements of one payment. Account 0 is the hot one."""
    one, other = chance.sample(range(1, ACCOUNTS), 2)
    amount = chance.randrange(100, 10_000)
    return {
        HOT_CREDIT: ((one, 0, amount),),
        HOT_DEBIT: ((0, one, amount),),
        RANDOM: ((one, other, amount),),
        # A charge with its fee, its reserve, and the rail's cost.
        FOUR: ((one, 0, amount), (0, 1, 10), (0, 2, 20), (3, 4, 5)),
    }[scenario]


def measure_ledger(plan: LedgerPlan, say: Say) -> dict[str, Any]:
    """Return the document of the suite. Starts a PostgreSQL server of its own and stops it."""
    with ledger_server(plan.pgledger, say) as server:
        return asyncio.run(_measure(plan, server, say))


async def _measure(plan: LedgerPlan, server: LedgerServer, say: Say) -> dict[str, Any]:
    contenders = _contenders(server)
    for contender in contenders:
        await contender.open(ACCOUNTS)
    before = _sizes(server, contenders)
    rows = [row async for row in _rows(plan, server, contenders, say)]
    moved: dict[str, int] = {}
    for row in rows:
        each = 4 if row["scenario"] == FOUR else 1
        family = row["ledger"].split(",")[0]
        moved[family] = moved.get(family, 0) + row["payments"] * each
    sizes = {
        family: rounded((after - before[family]) / moved[family])
        for family, after in _sizes(server, contenders).items()
        if moved.get(family)
    }
    for contender in contenders:
        await contender.close()
    say("one process beside four")
    processes = await measure_processes(server.our_url, seconds=max(2.0, 2 * plan.seconds), accounts=ACCOUNTS)
    histories = []
    for entries in plan.history_entries:
        say(f"a history of {entries} more entries")
        histories.append(await measure_history(server, entries=entries, say=say))
    return {
        "suite": "ledger",
        **provenance(plan.command),
        "accounts": ACCOUNTS,
        "cells": _merged(rows),
        "bytes_per_movement": sizes,
        "processes": processes,
        "histories": histories,
    }


def _contenders(server: LedgerServer) -> list[Contender]:
    contenders: list[Contender] = [OurLedger(server.our_url)]
    if server.pgledger_url is not None:
        contenders += [PgLedger(server.pgledger_url, serializable=level) for level in (False, True)]
    return [*contenders, NaiveLedger(server.naive_url)]


async def _rows(plan: LedgerPlan, server: LedgerServer, contenders: Sequence[Contender], say: Say) -> Any:
    meter = CpuMeter({"postgresql": ProcessTree(server.pid)})
    cells = itertools.product(range(plan.rounds), plan.scenarios, IN_FLIGHT, contenders)
    for round_number, scenario, in_flight, contender in cells:
        if isinstance(contender, NaiveLedger) and in_flight > NAIVE_IN_FLIGHT_MAX:
            continue
        cell = Cell(case=contender.name, in_flight=in_flight, seconds=plan.seconds)
        chance = random.Random(f"{round_number}/{scenario}/{in_flight}")
        await _loop(contender, scenario, chance, replace(cell, seconds=min(0.3, plan.seconds)))
        retries, python = contender.retries, time.process_time()
        meter.restart()
        run = await _loop(contender, scenario, chance, cell)
        python = time.process_time() - python
        spent, others = meter.spent()
        payments = len(run.latencies_ms)
        say(f"{scenario}, {in_flight} in flight, {contender.name}: {payments / run.elapsed_seconds:.0f}/s")
        yield {
            "round": round_number,
            "scenario": scenario,
            "in_flight": in_flight,
            "ledger": contender.name,
            "payments": payments,
            "per_second": payments / run.elapsed_seconds,
            "latency_ms": distribution(run.latencies_ms),
            "retries": contender.retries - retries,
            "cpu_ms_per_payment": {
                "python": 1_000 * python / max(1, payments),
                "postgresql": 1_000 * spent["postgresql"] / max(1, payments),
            },
            "others_cores": others / run.elapsed_seconds,
        }


async def _loop(contender: Contender, scenario: str, chance: random.Random, cell: Cell) -> CellRun:
    # Made beforehand: what a client thinks up is not the ledger's work.
    payments = itertools.cycle([legs_of(scenario, chance) for _ in range(PAYMENTS_MADE)])

    async def pay() -> Sample:
        legs = next(payments)
        started = time.perf_counter()
        await contender.pay(legs)
        return Sample(latency_ms=1_000 * (time.perf_counter() - started))

    clients: list[Operation] = [pay] * cell.in_flight
    return await run_closed_loop(clients, cell)


def _merged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each cell: medians over rounds, and the ratio to every other ledger in the same round."""
    cells: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["scenario"], row["in_flight"], row["ledger"]), []).append(row)
    merged = []
    for (scenario, in_flight, ledger), own in cells.items():
        ours = cells[scenario, in_flight, OurLedger.name]
        merged.append(
            {
                "scenario": scenario,
                "in_flight": in_flight,
                "ledger": ledger,
                "per_second": _median(own, lambda row: row["per_second"]),
                "latency_ms": {
                    name: _median(own, lambda row, name=name: row["latency_ms"][name])  # type: ignore[misc]
                    for name in ("p50", "p95", "p99")
                },
                "retries_per_payment": rounded(sum(r["retries"] for r in own) / sum(r["payments"] for r in own)),
                "cpu_ms_per_payment": {
                    part: _median(own, lambda row, part=part: row["cpu_ms_per_payment"][part])  # type: ignore[misc]
                    for part in ("python", "postgresql")
                },
                "others_cores": _median(own, lambda row: row["others_cores"]),
                "ours_times_as_many": _ratio(ours, own, lambda row: row["per_second"]),
                "our_p50_by_theirs": _ratio(ours, own, lambda row: row["latency_ms"]["p50"]),
            }
        )
    return merged


def _median(rows: Sequence[dict[str, Any]], figure: Callable[[dict[str, Any]], float]) -> float:
    return rounded(statistics.median(figure(row) for row in rows))


def _ratio(
    ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], figure: Callable[[dict[str, Any]], float]
) -> float:
    return rounded(statistics.median(figure(our) / figure(their) for our, their in zip(ours, theirs, strict=True)))


def _sizes(server: LedgerServer, contenders: Sequence[Contender]) -> dict[str, int]:
    """Return each ledger's database in bytes, indexes and dead rows included, write-ahead log not."""
    urls = {"ledgerline": server.our_admin_url, "pgledger": server.pgledger_url, NaiveLedger.name: server.naive_url}
    sizes = {}
    for family in {contender.name.split(",")[0] for contender in contenders}:
        with psycopg.connect(str(urls[family]), autocommit=True) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            sizes[family] = int(row[0])
    return sizes
