"""`ledgerline safeguarding`: reconcile now, see how it stands, get the resolution pack. Over the API, admin key."""

from pathlib import Path
from typing import Annotated, Any

import typer

from commands.asking import ask, download
from domain.money import format_amount

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def safeguarding() -> None:
    """What is owed to customers against what banks keep for them."""


@app.command()
def run(
    at: Annotated[
        str | None, typer.Option(help="The instant (RFC 3339) to reconcile as of; now when not given.")
    ] = None,
) -> None:
    """Reconcile as of an instant; exit with 1 if anything of live mode does not match."""
    found = ask("POST", "/v1/safeguarding/reconciliations", {} if at is None else {"at": at})
    print(f"as of {found['at']}")
    _print(found["reconciliations"])
    live = (one for one in found["reconciliations"] if one["mode"] == "live")
    raise typer.Exit(0 if all(one["status"] == "matched" for one in live) else 1)


@app.command()
def status() -> None:
    """Print the last reconciliation of each mode and currency, and the open breaks."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for one in ask("GET", "/v1/safeguarding/reconciliations?limit=100")["data"]:
        latest.setdefault((one["mode"], one["currency"]), one)
    _print([latest[key] for key in sorted(latest)])
    page = ask("GET", "/v1/safeguarding/breaks?status=open&limit=100")
    for one in page["data"]:
        where = f"bank {one['bank']}" if one["bank"] else "the books"
        amount = format_amount(one["difference"], one["currency"])
        cause = one["root_cause"]
        if cause == "unexplained" and one["proposed_root_cause"]:
            cause = f"unexplained, perhaps {one['proposed_root_cause']}"
        print(f"BREAK {one['id']} {one['mode']} {one['kind']} of {amount} in {where}, {one['age_days']} days: {cause}")
    print(f"{len(page['data'])} open breaks" + (", and more" if page["has_more"] else ""))


@app.command()
def pack(
    to: Annotated[Path, typer.Argument(help="The file to write.")],
    as_of: Annotated[str | None, typer.Option(help="The instant (RFC 3339) it is of; now when not given.")] = None,
    days: Annotated[int, typer.Option(help="Days of history that go in.")] = 30,
    mode: Annotated[str, typer.Option(help="live or test.")] = "live",
) -> None:
    """Write the resolution pack to a ZIP file, readable by its owner only."""
    body = {"days": days, "mode": mode, **({} if as_of is None else {"as_of": as_of})}
    size = download("/v1/safeguarding/resolution_pack", body, to)
    print(f"{to}: {size} bytes")


def _print(reconciliations: list[dict[str, Any]]) -> None:
    for one in reconciliations:
        owed, kept, difference = (
            format_amount(one[name], one["currency"]) for name in ("requirement", "resource", "difference")
        )
        print(
            f"{one['at'][:19]} {one['mode']:<4} owed {owed:>20}  kept {kept:>20}  difference {difference:>20}"
            f"  books {one['internal']}, banks {one['external']}"
        )
