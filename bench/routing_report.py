"""How the routing suite is shown: a table, the regret curve as SVG, the JSON file."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.curve import line_chart
from bench.report import write_result


def write_routing(document: dict[str, Any], folder: Path) -> Path:
    """Write the result and, beside it, the regret curve; return the result's path."""
    path = write_result(document, folder)
    curve = document["regret"]
    best = document["best_single_rail"]
    lines = {name: [(0.0, 0.0), *((point["charges"], point[name]) for point in curve)] for name in ("auto", best)}
    lines[f"{best}, alone"] = lines.pop(best)
    chart = line_chart("Approvals behind an oracle that knows the truth", "charges", "approvals missed", lines)
    path.with_suffix(".svg").write_text(chart)
    return path


def print_routing(document: dict[str, Any], console: Console) -> None:
    """Print what each contender achieved, and what the suite was to show."""
    table = Table(title=f"{document['charges']} charges, seed {document['seed']}", title_justify="left")
    table.add_column("contender")
    for name in ("approved %", "cost, bp of approved", "cost an approval", "attempts a charge"):
        table.add_column(name, justify="right")
    for row in document["contenders"]:
        table.add_row(
            row["name"],
            f"{100 * row['approval_rate']:.2f}",
            f"{row['cost_basis_points']:.1f}",
            f"{row['cost_per_approval_minor']:.1f}",
            f"{row['attempts_per_charge']:.3f}",
        )
    console.print(table)
    best, cpu = document["best_single_rail"], document["decision_cpu_ms"]
    frugal = document["cheaper_at_no_fewer_approvals"]
    for line in (
        f"auto approves {document['points_above_best_single']:.2f} points more than {best}, the best single rail, and "
        f"{document['points_below_oracle']:.2f} fewer than the oracle",
        f"cheaper an approval than {best} at no fewer approvals: " + (", ".join(r["name"] for r in frugal) or "none"),
        f"a decision takes {cpu['p50']:.3f} ms of CPU at the median, {cpu['p99']:.3f} ms at p99",
    ):
        console.print(line, markup=False, highlight=False)
