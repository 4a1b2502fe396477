"""What a charge is compared with, on the same Temporal server (`python -m bench.peers`).

The floor is a workflow that does nothing, started eagerly from the process that runs its worker: less
than this no workflow can cost. The peer is how one would build a charge without thinking about
latency: a plain start and four regular activities, here doing nothing at all.
"""

import contextlib
import itertools
import secrets
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bench.closed_loop import Cell, CellRun, Operation, Sample, run_closed_loop
from bench.station import RunCell, serve_station

QUEUE = "bench-peers"
NO_OP = "no-op workflow"
FOUR_ACTIVITIES = "four activities"
ACTIVITY_TIMEOUT = timedelta(seconds=30)


@activity.defn
async def do_nothing(step: int) -> int:
    """Return the number of the step."""
    return step


@workflow.defn
class NoOpWorkflow:
    """Does nothing."""

    @workflow.run
    async def run(self) -> None:
        """End at once."""


@workflow.defn
class FourActivitiesWorkflow:
    """Assess, attempt, post, notify: four regular activities one after the other, none of which does anything."""

    @workflow.run
    async def run(self) -> int:
        """Return 6, the sum of the steps' numbers."""
        return sum(
            [
                await workflow.execute_activity(do_nothing, step, start_to_close_timeout=ACTIVITY_TIMEOUT)
                for step in range(4)
            ]
        )


class Peers:
    """Starts peers' workflows, each under an id of its own, and waits for their results."""

    def __init__(self, client: Client) -> None:
        self._client = client
        run = secrets.token_hex(6)
        self._ids = (f"bench-{run}-{number}" for number in itertools.count())

    async def no_op(self) -> Sample:
        """Run the floor once."""
        started = time.perf_counter()
        handle = await self._client.start_workflow(
            NoOpWorkflow.run, id=next(self._ids), task_queue=QUEUE, request_eager_start=True
        )
        await handle.result()
        return Sample(latency_ms=(time.perf_counter() - started) * 1000)

    async def four_activities(self) -> Sample:
        """Run the peer once."""
        started = time.perf_counter()
        total = await self._client.execute_workflow(FourActivitiesWorkflow.run, id=next(self._ids), task_queue=QUEUE)
        latency_ms = (time.perf_counter() - started) * 1000
        return Sample(latency_ms=latency_ms, error=None if total == 6 else f"the steps add up to {total}")


@contextlib.asynccontextmanager
async def open_peers(targets: dict[str, Any]) -> AsyncIterator[RunCell]:
    """Yield what runs a cell of peers on `temporal_address`, their worker beside it.

    Unsandboxed like Ledgerline's own worker, so that the comparison is about the design.
    """
    client = await Client.connect(targets["temporal_address"], data_converter=pydantic_data_converter)
    peers = Peers(client)
    operations: dict[str, Operation] = {NO_OP: peers.no_op, FOUR_ACTIVITIES: peers.four_activities}

    async def run_cell(cell: Cell) -> CellRun:
        return await run_closed_loop([operations[cell.case]] * cell.in_flight, cell)

    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[NoOpWorkflow, FourActivitiesWorkflow],
        activities=[do_nothing],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield run_cell


if __name__ == "__main__":
    serve_station(open_peers)
