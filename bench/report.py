"""How a result is shown: tables for people, a JSON file for whoever compares later."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PARTS_SHOWN = ("api+worker", "peers' worker", "temporal", "postgresql", "rails sandbox", "bench client", "total")


def write_result(document: dict[str, Any], folder: Path) -> Path:
    """Write `<folder>/<suite>.json`, whole or not at all, and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{document['suite']}.json"
    unfinished = path.with_suffix(".json.tmp")
    unfinished.write_text(json.dumps(document, indent=2) + "\n")
    unfinished.replace(path)
    return path


def print_end_to_end(document: dict[str, Any], console: Console) -> None:
    """Print latency and throughput, then CPU, then what stands beside both."""
    console.print(latency_table(document))
    console.print(cpu_table(document))
    for line in footnotes(document):
        console.print(line, markup=False, highlight=False)


def latency_table(document: dict[str, Any]) -> Table:
    """Return latency and throughput of every case; `×` columns are ratios to the floor of the same rounds."""
    table = Table(title="Latency in ms and throughput, closed loop", title_justify="left")
    for name in ("in flight", "case"):
        table.add_column(name)
    for name in ("per s", "×", "p50", "×", "p95", "×", "p99", "×", "rail p50", "core-added p50/p95/p99", "errors"):
        table.add_column(name, justify="right")
    for row in document["cases"]:
        latency, ratio = row["latency_ms"] or {}, row["ratio_to_floor"]
        core = row["core_added_ms"]
        table.add_row(
            str(row["in_flight"]),
            row["case"],
            shown(row["throughput_per_second"]),
            shown(ratio["throughput_per_second"]),
            *(text for p in ("p50", "p95", "p99") for text in (shown(latency.get(p)), shown(ratio[p]))),
            shown((row["rail_ms"] or {}).get("p50")),
            " / ".join(shown(core[p]) for p in ("p50", "p95", "p99")) if core else "",
            "; ".join(f"{count}× {error}" for error, count in row["errors"].items()) or "0",
            end_section=row is last_of_level(document, row),
        )
    return table


def cpu_table(document: dict[str, Any]) -> Table:
    """Return CPU milliseconds per operation by process; processes that idle in a case show what idling costs."""
    table = Table(title="CPU in ms per operation", title_justify="left")
    for name in ("in flight", "case"):
        table.add_column(name)
    for name in (*PARTS_SHOWN, "total ×", "others' cores"):
        table.add_column(name, justify="right")
    for row in document["cases"]:
        cpu = row["cpu_ms_per_operation"]
        table.add_row(
            str(row["in_flight"]),
            row["case"],
            *(shown(cpu.get(part)) for part in PARTS_SHOWN),
            shown(row["ratio_to_floor"]["cpu_ms"]),
            shown(row["others_cores"]),
            end_section=row is last_of_level(document, row),
        )
    return table


def last_of_level(document: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return the last row with the same number in flight."""
    same = [other for other in document["cases"] if other["in_flight"] == row["in_flight"]]
    last: dict[str, Any] = same[-1]
    return last


def footnotes(document: dict[str, Any]) -> list[str]:
    """Return what a reader of the tables needs to judge them."""
    risk, books, promise = document["risk_scoring"], document["books"], document["promise_ms"]
    score, assess = risk["score_ms"], risk["assess_ms"]
    machine = document["machine"]
    return [
        f"risk: one row scored p50 {shown(score['p50'])} ms, p99 {shown(score['p99'])} ms; "
        f"score, reasons and decision p50 {shown(assess['p50'])} ms, p99 {shown(assess['p99'])} ms",
        "to be approached for a charge: " + ", ".join(f"{name} {figure:g} ms" for name, figure in promise.items()),
        f"books after the run: {'balanced' if books['ok'] else 'WRONG'}, {books['entries_checked']} entries checked",
        f"{machine['cores_usable']} cores, {machine['memory_gb']} GB; others' cores are the machine's other work: "
        "compare ratios, not milliseconds, when it is not near 0",
    ]


def shown(figure: float | None) -> str:
    """Return a figure to three significant digits, nothing for none: 0.123, 1.23, 12.3, 1230."""
    if figure is None:
        return ""
    if abs(figure) >= 100:
        return f"{figure:.0f}"
    return f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}"
