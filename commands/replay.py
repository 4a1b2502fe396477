"""`ledgerline replay`: a run's timeline, and whether today's code would decide the same."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError

from activities.codec import data_converter, open_codec
from commands.configured import running_instance, settings_or_exit
from operations.replaying import ReplayVerdict, replay
from operations.timeline import TimelineStep, tell_timeline
from settings import Settings

app = typer.Typer()

KINDS = {"ch": "charges", "re": "refunds", "po": "payouts", "tr": "transfers", "dp": "disputes"}


@app.command()
def replay_run(
    run: Annotated[str, typer.Argument(help="A charge, refund, payout or transfer id, or a workflow id.")],
    save: Annotated[Path | None, typer.Option(help="Write the encrypted history to this file as JSON.")] = None,
) -> None:
    """Fetch a run's history, print its timeline and replay it against today's code. Exit code 1 if it diverges."""
    settings = settings_or_exit()
    instance = running_instance(settings)
    workflow_id = _workflow_id(instance["database_url"], run)
    if workflow_id is None:
        print(f"Nothing is known of {run}.", file=sys.stderr)
        raise typer.Exit(2)
    try:
        history, steps, verdict = asyncio.run(_replay(settings, instance["temporal_address"], workflow_id))
    except RPCError as error:
        print(f"Temporal has no history of {workflow_id}: {error.message}.", file=sys.stderr)
        raise typer.Exit(2) from error
    if save is not None:
        save.write_text(history.to_json())
    _show(workflow_id, steps, verdict)
    sys.stdout.flush()
    # The SDK's threads may abort the process at exit after success (sdk-python #300).
    os._exit(0 if verdict.failure is None else 1)


def _workflow_id(database_url: str, run: str) -> str | None:
    if "/" in run:
        return run
    table = KINDS.get(run.split("_", 1)[0])
    if table is None:
        return None
    with psycopg.connect(database_url) as connection:
        query = f"SELECT document ->> 'workflow_id' FROM {table} WHERE id = %s"
        row = connection.execute(query.encode(), (run,)).fetchone()
    return str(row[0]) if row else None


async def _replay(
    settings: Settings, address: str, workflow_id: str
) -> tuple[WorkflowHistory, list[TimelineStep], ReplayVerdict]:
    codec = open_codec(settings.codec_keys_path)
    converter = data_converter(codec)
    client = await Client.connect(address, namespace=settings.temporal_namespace, data_converter=converter)
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    return history, await tell_timeline(history, codec), await replay(history, converter)


def _show(workflow_id: str, steps: list[TimelineStep], verdict: ReplayVerdict) -> None:
    table = Table(title=workflow_id, title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("+ms", justify="right", style="dim")
    table.add_column("step")
    table.add_column("what happened", overflow="fold")
    for step in steps:
        table.add_row(f"{(step.at - steps[0].at).total_seconds() * 1000:.0f}", step.kind, step.text)
    console = Console()
    console.print(table)
    if verdict.failure is None:
        console.print("[green]Today's code makes the same decisions.[/green]")
    else:
        console.print(f"[red]Today's code decides otherwise:[/red] {verdict.failure}")
