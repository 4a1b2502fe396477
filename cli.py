"""The `ledgerline` command line: which commands there are. What each does is in `commands/`, a Typer app a file.

A command's module is imported only when it is called, so that `ledgerline up` never loads a model
or a workflow.
"""

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "up": "start everything on this machine and keep it running",
    "demo": "drive the running sandbox through the story and print what happened",
    "api": "run the API with a worker in the same process",
    "worker": "run a worker alone",
    "migrate": "bring the database schema and Temporal's search attributes up to date",
    "keys": "create, list and revoke API keys",
    "rails": "list the rails switched on, or make a package for a new one",
    "routing": "show what another routing policy would have done with past traffic",
    "listen": "forward the sandbox's events to a server on this machine and print them",
    "replay": "replay a workflow's history against today's code and print its timeline",
    "ledger": "show the ledger's periods and archive the oldest",
    "verify": "check the books: trial balance zero, every balance the sum of its entries",
    "reconcile": "hand in a file of a rail or a bank and print what came of it",
    "stuck": "list everything that is not in a final state, and what it waits for",
    "watch": "what the invariant watch found, and letting stopped payouts go again",
    "safeguarding": "reconcile what banks keep for customers, and make the resolution pack",
    "risk": "train the risk model",
    "bench": "run the benchmarks beside their peers",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command with its own arguments; the console script's entry."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("--help", "-h", "help"):
        print(usage())
        return
    name, *rest = given
    if name not in COMMANDS:
        print(f"There is no command `{name}`.\n\n{usage()}", file=sys.stderr)
        sys.exit(2)
    importlib.import_module(f"commands.{name}").app(args=rest, prog_name=f"ledgerline {name}")


def usage() -> str:
    """Return what `ledgerline --help` prints, without importing any command."""
    lines = [f"  {name:<12} {does}" for name, does in COMMANDS.items()]
    return "\n".join(["Usage: ledgerline COMMAND [OPTIONS]   (COMMAND --help says more)", "", *lines])


if __name__ == "__main__":
    main()
