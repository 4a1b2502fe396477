"""`ledgerline verify`: ask the running instance to prove its books."""

import typer

from commands.asking import ask
from domain.money import format_amount

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def verify() -> None:
    """Check that debits equal credits in every currency and every balance is the sum of its entries."""
    for row in ask("GET", "/v1/ledger/trial_balance")["currencies"]:
        debits, credits_ = (format_amount(row[side], row["currency"]) for side in ("debits", "credits"))
        print(f"{row['currency']:<5} debits {debits:>20}   credits {credits_:>20}   delta {row['delta']}")
    invariants = ask("GET", "/v1/ledger/invariants?full=true")
    print(f"{invariants['entries_checked']} entries checked at {invariants['checked_at']}")
    for violation in invariants["violations"]:
        print(f"VIOLATION {violation}")
    print("the books are in order" if invariants["ok"] else "THE BOOKS ARE NOT IN ORDER")
    raise typer.Exit(0 if invariants["ok"] else 1)
