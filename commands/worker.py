"""`ledgerline worker`: a worker alone, for when one process is not enough."""

from enum import StrEnum
from typing import Annotated

import typer

import worker as worker_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Queue(StrEnum):
    """Which queues to serve."""

    ALL = "all"
    PAYMENTS = "payments"
    BACKGROUND = "background"


@app.command()
def worker(
    queue: Annotated[Queue, typer.Option(help="The queue to serve; `all` serves both.")] = Queue.ALL,
) -> None:
    """Run workflows and activities until SIGTERM; several may join the same queues."""
    worker_process.main([name.value for name in Queue if name is not Queue.ALL and queue in (name, Queue.ALL)])
