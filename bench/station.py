"""Stations: child processes of the benchmark that run cells when they are told to.

Each operation's load comes from a process of its own, so that its CPU can be told apart. Orders and
answers travel as one JSON object a line over the child's standard input and output.
"""

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import uvloop

from bench.closed_loop import Cell, CellRun
from embedded.processes import die_with_parent, log_tail, stop

ROOT = Path(__file__).resolve().parent.parent
GRACE_SECONDS = 60.0
"""How much longer than its cell a station may take before it counts as stuck."""

RunCell = Callable[[Cell], Awaitable[CellRun]]
OpenStation = Callable[[dict[str, Any]], AbstractAsyncContextManager[RunCell]]


class StationFailure(Exception):
    """A station ended, answered nonsense or took too long. Not retryable within this run."""


class Station:
    """One child process `python -m <module>`; use as a context manager."""

    def __init__(self, module: str, targets: dict[str, Any], log_path: Path) -> None:
        """Start the child and wait until it is connected to its `targets` (handed over on its input).

        Raises:
            StationFailure: it could not start. Not retryable.
        """
        self._module = module
        self._log = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )
        try:
            self._ask(targets, GRACE_SECONDS)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The child's pid."""
        return self._process.pid

    def run(self, cell: Cell) -> CellRun:
        """Have one cell run and return what it measured.

        Raises:
            StationFailure: the child ended or took too long. Not retryable within this run.
        """
        expected_seconds = cell.seconds if cell.count is None else 0.2 * cell.count
        return CellRun.of_document(self._ask(asdict(cell), expected_seconds + GRACE_SECONDS))

    def close(self) -> None:
        """End the child. Idempotent."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        stop(self._process, ask=signal.SIGTERM, patience_seconds=5.0)

    def __enter__(self) -> "Station":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, question: dict[str, Any], patience_seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure("ended") from error
        line = _read_line(self._process.stdout, patience_seconds)
        if not line.endswith(b"\n"):
            raise self._failure("took too long" if self._process.poll() is None else "ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failure(self, what: str) -> StationFailure:
        return StationFailure(f"{self._module} {what}: {log_tail(self._log, characters=2000).strip() or 'no output'}")


def _read_line(pipe: IO[bytes], patience_seconds: float) -> bytes:
    """Return one line, or less when the child ended or patience ran out. A child writes each line at once."""
    deadline = time.monotonic() + patience_seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            return pipe.readline()
    return b""


def serve_station(open_station: OpenStation) -> None:
    """Run the child's side until its input ends, then leave at once.

    `os._exit`: temporalio aborts a share of processes at exit after success (sdk-python #300).
    """
    die_with_parent(signal.SIGKILL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(open_station))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _serve(open_station: OpenStation) -> None:
    lines = _input_lines()
    targets = await anext(lines)
    async with open_station(targets) as run_cell:
        _answer({"connected": True})
        async for line in lines:
            _answer(asdict(await run_cell(Cell(**line))))


async def _input_lines() -> AsyncIterator[dict[str, Any]]:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        yield json.loads(line)


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()
