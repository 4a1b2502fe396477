"""`ledgerline stuck`: everything that is not final, as a table. Over the API, with the admin key."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.table import Table

from commands.asking import ask
from domain.money import format_amount

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

COLUMNS = ("waits since", "id", "status", "for", "next check", "rail", "attempt", "amount", "merchant")
PAGE = 100


@app.command()
def stuck(
    kind: Annotated[str | None, typer.Option(help="charge, refund, payout, transfer, dispute or orphan.")] = None,
    status: Annotated[str | None, typer.Option(help="Only in this status.")] = None,
    older_than: Annotated[int, typer.Option(help="Only what has waited for so many seconds.")] = 0,
    most: Annotated[int, typer.Option(help="How many at most.")] = 200,
    links: Annotated[bool, typer.Option(help="Print where each run is in Temporal's web UI, too.")] = False,
) -> None:
    """Print what is not final: what it waits for, since when, and when it is looked at next."""
    filters = {"kind": kind, "status": status, "older_than": older_than or None}
    asked = {name: str(value) for name, value in filters.items() if value is not None}
    found: list[dict[str, object]] = []
    more, after = True, dict[str, str]()
    while more and len(found) < most:
        query = urlencode({**asked, **after, "limit": str(min(PAGE, most - len(found)))})
        page = ask("GET", f"/v1/operations/stuck?{query}")
        found += page["data"]
        more = page["has_more"]
        after = {"starting_after": str(found[-1]["id"])} if found else {}
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for row in found:
        table.add_row(*_cells(row))
    Console(soft_wrap=True).print(table)
    if links:
        for row in found:
            print(f"{row['id']}  {row['temporal_url'] or 'no web UI is known'}")
    print(f"{len(found)} not final" + (", and more" if more else ""))


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    attempt = row["attempt"]
    assert attempt is None or isinstance(attempt, dict)
    amount = row["amount"]
    return (
        _age(str(row["since"])),
        str(row["id"]),
        str(row["status"]),
        str(row["why"]),
        str(row["next_check_at"] or "-")[:19],
        str(row["rail"] or "-"),
        f"{attempt['number']} {attempt['outcome']}" if attempt is not None else "-",
        format_amount(amount, str(row["currency"])) if isinstance(amount, int) else "-",
        f"{row['merchant']}/{row['mode']}",
    )


def _age(since: str) -> str:
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{max(seconds, 0)} s"
