"""`ledgerline bench`: the benchmarks, each with its peers side by side in one run."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.end_to_end import QUICK, Plan, measure_end_to_end
from bench.events import RATIO_MIN, EventsPlan, measure_events, print_events
from bench.instance import InstanceFailure
from bench.ledger import QUICK as QUICK_LEDGER
from bench.ledger import WHOLE as WHOLE_LEDGER
from bench.ledger import LedgerPlan, measure_ledger
from bench.ledger_report import print_ledger
from bench.report import print_end_to_end, write_result
from bench.routing import RoutingPlan, measure_routing
from bench.routing_report import print_routing, write_routing
from bench.station import StationFailure

RESULTS = Path(__file__).resolve().parent.parent / "bench" / "results"

app = typer.Typer(invoke_without_command=True)

Quick = Annotated[bool, typer.Option("--quick", help="About a minute, for a first look.")]
Output = Annotated[Path, typer.Option(help="Folder for the results, one JSON file a suite.")]


@app.callback()
def bench(context: typer.Context, quick: Quick = False, output: Output = RESULTS) -> None:
    """Run every suite, or the one named, and write results and a table. Starts an instance of its own."""
    if context.invoked_subcommand is None:
        _run_end_to_end(QUICK if quick else Plan(), output)
        _run_routing(RoutingPlan(charges=5_000) if quick else RoutingPlan(), output)
        _run_ledger(QUICK_LEDGER if quick else WHOLE_LEDGER, output)
        _run_events(EventsPlan(seconds=1.0, rounds=2) if quick else EventsPlan(), output)


@app.command("end-to-end")
def end_to_end(
    seconds: Annotated[float | None, typer.Option(min=0.2, help="Length of a cell; there are 9 in a round.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Operations per cell, instead of --seconds.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds in which the cases alternate.")] = None,
    quick: Quick = False,
    output: Output = RESULTS,
) -> None:
    """Charges over HTTP at 1, 8 and 32 in flight beside a no-op workflow and one of four plain activities."""
    given: dict[str, Any] = {"seconds_per_cell": seconds, "count_per_cell": count, "rounds": rounds}
    chosen = {name: wanted for name, wanted in given.items() if wanted is not None}
    _run_end_to_end(dataclasses.replace(QUICK if quick else Plan(), **chosen), output)


@app.command("ledger")
def ledger(
    seconds: Annotated[float | None, typer.Option(min=0.2, help="Length of a cell.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds in which the ledgers alternate.")] = None,
    entries: Annotated[
        list[int] | None, typer.Option(min=1_000, help="Entries of the long history; given again, of a longer one.")
    ] = None,
    pgledger: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A checkout of pgledger; default: download it.")
    ] = None,
    quick: Quick = False,
    output: Output = RESULTS,
) -> None:
    """Our ledger beside pgledger and a plain one on one PostgreSQL server; then a long history."""
    given: dict[str, Any] = {"seconds": seconds, "rounds": rounds, "pgledger": pgledger}
    given["history_entries"] = tuple(entries) if entries else None
    chosen = {name: wanted for name, wanted in given.items() if wanted is not None}
    _run_ledger(dataclasses.replace(QUICK_LEDGER if quick else WHOLE_LEDGER, **chosen), output)


def _run_ledger(plan: LedgerPlan, output: Path) -> None:
    progress = Console(stderr=True)
    document = measure_ledger(plan, lambda line: progress.print(line, style="dim", markup=False))
    path = write_result(document, output)
    print_ledger(document, Console() if Console().is_terminal else Console(width=180))
    print(f"written to {path}")
    if any(history["answers_changed"] or not history["books_ok"] for history in document["histories"]):
        raise typer.Exit(1)


@app.command("events")
def events(
    seconds: Annotated[float, typer.Option(min=0.2, help="Length of a cell.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which both alternate.")] = 5,
    output: Output = RESULTS,
) -> None:
    """Posting with an event for each change beside posting without. Fails below the promised share of throughput."""
    _run_events(EventsPlan(seconds=seconds, rounds=rounds), output)


def _run_events(plan: EventsPlan, output: Path) -> None:
    progress = Console(stderr=True)
    document = measure_events(plan, lambda line: progress.print(line, style="dim", markup=False))
    path = write_result(document, output)
    print_events(document, Console() if Console().is_terminal else Console(width=140))
    print(f"written to {path}")
    if any(row["ratio"] < RATIO_MIN for row in document["cells"]):
        raise typer.Exit(1)


@app.command("routing")
def routing(
    charges: Annotated[int | None, typer.Option(min=100, help="Charges of the world.")] = None,
    seed: Annotated[int, typer.Option(help="The world's seed.")] = RoutingPlan.seed,
    quick: Quick = False,
    output: Output = RESULTS,
) -> None:
    """`auto` beside every single rail and an oracle, in a world of drifting odds and outages. Starts nothing."""
    count = charges or (5_000 if quick else RoutingPlan.charges)
    _run_routing(RoutingPlan(charges=count, seed=seed), output)


def _run_routing(plan: RoutingPlan, output: Path) -> None:
    progress = Console(stderr=True)
    document = measure_routing(plan, lambda line: progress.print(line, style="dim", markup=False))
    path = write_routing(document, output)
    print_routing(document, Console() if Console().is_terminal else Console(width=140))
    print(f"written to {path} and {path.with_suffix('.svg')}")


def _run_end_to_end(plan: Plan, output: Path) -> None:
    # Wide enough for the tables where nobody has a terminal.
    console = Console() if Console().is_terminal else Console(width=180)
    progress = Console(stderr=True)
    try:
        document = measure_end_to_end(plan, lambda line: progress.print(line, style="dim", markup=False))
    except (InstanceFailure, StationFailure) as failure:
        progress.print(str(failure), markup=False, soft_wrap=True)
        raise typer.Exit(2) from failure
    path = write_result(document, output)
    print_end_to_end(document, console)
    print(f"written to {path}")
    if not document["books"]["ok"] or any(row["errors"] for row in document["cases"]):
        raise typer.Exit(1)
