"""`ledgerline watch`: what the invariant watch found, and lifting a stop of payouts."""

from typing import Annotated

import typer

from commands.asking import ask

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def watch() -> None:
    """The invariant watch over the ledger."""


@app.command()
def status() -> None:
    """Print the last runs, open violations and stops; exit with 1 if the books are not in order."""
    report = ask("GET", "/v1/ledger/invariants")
    for kind in ("incremental", "full"):
        run = report[kind]
        print(f"{kind:<12} {run['checked_at'] if run else 'has not run yet'}")
    if report["incremental"]:
        print(f"{report['entries_checked']} entries verified, {report['incremental']['movements_behind']} behind")
    for violation in report["violations"]:
        seen = " (taken note of)" if violation.get("acknowledged") else ""
        print(f"VIOLATION {violation['kind']} {violation['account']} {violation['entry']}: {violation['detail']}{seen}")
    for currency in report["payouts_stopped"]:
        print(f"PAYOUTS STOPPED in {currency}")
    print("the books are in order" if report["ok"] else "THE BOOKS ARE NOT IN ORDER")
    raise typer.Exit(0 if report["ok"] else 1)


@app.command()
def lift(
    currency: Annotated[str, typer.Argument(help="The currency whose payouts may go again, or ALL.")],
    note: Annotated[str, typer.Option(help="What was found out; kept in the audit log.")],
) -> None:
    """Let payouts in a currency go again; its open violations count as seen."""
    stop = ask("POST", f"/v1/ledger/payout_stops/{currency}/lift", {"note": note})
    print(f"payouts in {stop['currency']} go again; {stop['exception']} is resolved")
