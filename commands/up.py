"""`ledgerline up`: one instance on one machine, in the foreground."""

import signal
from typing import Annotated

import typer

from commands.configured import settings_or_exit
from embedded.processes import die_with_parent
from embedded.status import StatusBoard
from embedded.supervisor import Supervisor

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def up(
    stop_with_parent: Annotated[
        bool, typer.Option(hidden=True, help="Stop in order when the process that started this one ends.")
    ] = False,
) -> None:
    """Start everything on this machine, print URLs and the test key, then `ledgerline ready`. Ctrl-C stops it."""
    if stop_with_parent:
        die_with_parent(signal.SIGTERM)
    raise typer.Exit(Supervisor(settings_or_exit(), StatusBoard()).run())
