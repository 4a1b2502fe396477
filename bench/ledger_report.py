"""How the ledger suite is shown: a table of cells, then sizes, processes and history in a line each."""

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.report import shown


def print_ledger(document: dict[str, Any], console: Console) -> None:
    """Print what was measured; `×` columns say how many times as much ours did in the same rounds."""
    table = Table(title="Payments a second and latency in ms, closed loop", title_justify="left")
    for name in ("scenario", "in flight", "ledger"):
        table.add_column(name)
    for name in ("per s", "ours ×", "p50", "p95", "p99", "our p50 by theirs", "retries each", "CPU ms, Python + PG"):
        table.add_column(name, justify="right")
    for row in document["cells"]:
        latency, cpu = row["latency_ms"], row["cpu_ms_per_payment"]
        table.add_row(
            row["scenario"],
            str(row["in_flight"]),
            row["ledger"],
            shown(row["per_second"]),
            shown(row["ours_times_as_many"]),
            *(shown(latency[name]) for name in ("p50", "p95", "p99")),
            shown(row["our_p50_by_theirs"]),
            shown(row["retries_per_payment"]),
            f"{shown(cpu['python'])} + {shown(cpu['postgresql'])}",
        )
    console.print(table)
    processes = document["processes"]
    rounds = ", ".join(f"{shown(row['one'])} / {shown(row['four'])}" for row in processes["rounds"])
    sizes = ", ".join(f"{family} {shown(size)}" for family, size in sorted(document["bytes_per_movement"].items()))
    for line in (
        f"bytes per movement, indexes and dead rows included: {sizes}",
        f"one hot account, one process / four, per s: {rounds}; four by one {shown(processes['ratio'])}",
        *(line for history in document["histories"] for line in _lines(history)),
    ):
        console.print(line, markup=False, highlight=False)


def _lines(history: dict[str, Any]) -> tuple[str, str]:
    check, balance = history["incremental_check"], history["balance_at_ms"]
    books = "right" if history["books_ok"] else "WRONG"
    return (
        f"{history['entries']} entries in {history['partitions_with_entries']} partitions: "
        f"balance at a past instant p50 {shown(balance['p50'])} ms, p99 {shown(balance['p99'])} ms; "
        f"{history['answers_changed']} of {history['asked_before_during_and_after_writes']} answers changed",
        f"incremental check of {check['new_entries']} new entries "
        f"{', '.join(shown(one) for one in check['seconds'])} s; "
        f"the whole proof {shown(history['whole_proof_seconds'])} s, books {books}",
    )
