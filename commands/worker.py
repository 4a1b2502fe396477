"""`ledgerline worker`: a worker alone, for when one process is not enough."""

import typer

import worker as worker_process

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def worker() -> None:
    """Run workflows and activities until SIGTERM; several may join the same queues."""
    worker_process.main()
