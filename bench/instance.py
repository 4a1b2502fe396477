"""The instance a benchmark measures: its own, in a temporary home on free ports, stopped whatever happens."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cpu import ProcessTree
from embedded.processes import log_tail, stop

ROOT = Path(__file__).resolve().parent.parent
READY_LINE = "ledgerline ready"
START_SECONDS_MAX = 180.0
PARTS = {
    "API and worker": "api+worker",
    "Temporal": "temporal",
    "PostgreSQL": "postgresql",
    "Sandbox rails": "rails sandbox",
}
"""The supervisor's names of its processes, and what the tables call them."""


class InstanceFailure(Exception):
    """The instance did not start, or its books are wrong; the message says what it printed. Not retryable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningInstance:
    """A ready instance. `folder` is for logs and gone afterwards."""

    folder: Path
    api_url: str
    test_key: str
    admin_key: str
    temporal_address: str
    parts: dict[str, ProcessTree]

    def invariants(self) -> dict[str, Any]:
        """Return what the instance's own invariant check says of its books.

        Raises:
            OSError: it does not answer. Retryable.
        """
        request = urllib.request.Request(
            f"{self.api_url}/v1/ledger/invariants?full=true", headers={"Authorization": f"Bearer {self.admin_key}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            document: dict[str, Any] = json.loads(answer.read())
        return document


@contextlib.contextmanager
def running_instance() -> Iterator[RunningInstance]:
    """Start `ledgerline up` as a child, yield it once it is ready, stop it in order and remove its home.

    Raises:
        InstanceFailure: it ended or was not ready in time. Not retryable.
    """
    with tempfile.TemporaryDirectory(prefix="ledgerline-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # The embedded PostgreSQL of a root user runs under another uid.
        log = folder / "up.log"
        process = _launch(folder / "home", log)
        try:
            _await_ready(process, log)
            yield _describe(folder)
        finally:
            stop(process, ask=signal.SIGINT, patience_seconds=60.0)


def _launch(home: Path, log_path: Path) -> "subprocess.Popen[bytes]":
    """Start it in a session of its own: Ctrl-C reaches the benchmark alone, which then stops it in order."""
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), "up", "--stop-with-parent"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(home),
            cwd=ROOT,
            start_new_session=True,
        )


def _environment(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of the caller's own instance is named."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEDGERLINE_")}
    ports = dict.fromkeys(("API", "POSTGRES", "TEMPORAL", "TEMPORAL_UI", "RAILS"), "0")
    return {
        **kept,
        **{f"LEDGERLINE_{part}_PORT": port for part, port in ports.items()},
        "LEDGERLINE_HOME": str(home),
        "PYTHONUNBUFFERED": "1",
    }


def _await_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while READY_LINE not in log_tail(log).splitlines():
        if process.poll() is not None or time.monotonic() > deadline:
            what = "ended" if process.poll() is not None else f"was not ready after {START_SECONDS_MAX:.0f} s"
            raise InstanceFailure(f"`ledgerline up` {what}: {log_tail(log, characters=1500).strip()}")
        time.sleep(0.1)


def _describe(folder: Path) -> RunningInstance:
    sandbox = json.loads((folder / "home" / "sandbox.json").read_text())
    processes = json.loads((folder / "home" / "state.json").read_text())["processes"]
    return RunningInstance(
        folder=folder,
        api_url=sandbox["api_url"],
        test_key=sandbox["test_key"],
        admin_key=sandbox["admin_key"],
        temporal_address=sandbox["temporal_address"],
        parts={shown: ProcessTree(processes[name]["pid"]) for name, shown in PARTS.items()},
    )
