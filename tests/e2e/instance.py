"""One whole instance as a newcomer runs it: `ledgerline up` in a process group of its own, on free ports.

Knows only what a user knows (the command, its last line, `sandbox.json`) plus `state.json`, which
says the pids to kill. Nothing it starts outlives it, whatever happens.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
READY_LINE = "ledgerline ready"
START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 60.0
RESTART_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.05
PORTS = ("API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "POSTGRES_PORT", "RAILS_PORT")

API, TEMPORAL, POSTGRES, RAILS = "API and worker", "Temporal", "PostgreSQL", "Sandbox rails"
PARTS = (API, TEMPORAL, POSTGRES, RAILS)
"""The names under which the supervisor keeps its servers in `state.json`."""


def wait_until(holds: Callable[[], bool], *, seconds: float, what: Callable[[], str]) -> None:
    """Return once `holds` is true; fail with `what()` at the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what()}"
        time.sleep(LOOK_SECONDS)


class LedgerlineInstance:
    """`ledgerline up` on a home of its own. Start it from the main thread: it dies with that thread."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._output = home.with_name(f"{home.name}.up.log")
        self._process: subprocess.Popen[bytes] | None = None
        self._sandbox: dict[str, Any] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What the command line needs to find this instance; nothing of the caller's own settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEDGERLINE_")}
        return {**inherited, "LEDGERLINE_HOME": str(self.home), **{f"LEDGERLINE_{port}": "0" for port in PORTS}}

    @property
    def sandbox(self) -> dict[str, Any]:
        """What `sandbox.json` said when the instance was last ready."""
        return self._sandbox

    def output(self) -> str:
        """Everything `up` printed so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def log_ends(self, characters: int = 1500) -> str:
        """The ends of what `up` and its servers wrote, for a failure's message."""
        paths = [self._output, *sorted((self.home / "logs").glob("*.log"))]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-characters:]}" for path in paths)

    def start(self) -> None:
        """Run `up` and return at its line `ledgerline ready`; also after a kill, on the same data."""
        assert self._process is None or self._process.poll() is not None, "already running"
        before = len(self.output())
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "cli.py"), "up", "--stop-with-parent"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self._process

        def is_ready() -> bool:
            assert process.poll() is None, f"`up` ended with {process.returncode}:\n{self.log_ends()}"
            return READY_LINE in self.output()[before:].splitlines()

        wait_until(is_ready, seconds=START_SECONDS_MAX, what=lambda: f"{READY_LINE}\n{self.log_ends()}")
        self._sandbox = json.loads((self.home / "sandbox.json").read_text())

    def stop(self) -> int:
        """Ctrl-C, and wait; returns the exit code. Kills what is left, by pid, if it does not end."""
        if self._process is None:
            return 0
        family = self._family()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_SECONDS_MAX)
        finally:
            self._kill(family)

    def kill_supervisor(self) -> None:
        """Kill -9 `up` alone and return at once: what it started is still on its way out."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill_everything(self) -> None:
        """Kill -9 `up` and every process it started, as a power cut would."""
        family = self._family()
        self.kill_supervisor()
        self._kill(family)

    def pid_of(self, part: str) -> int:
        """The pid of one of PARTS as the supervisor wrote it down last."""
        return int(self._state()["processes"][part]["pid"])

    def kill_part(self, part: str) -> int:
        """Kill -9 one of PARTS and return the pid it had."""
        pid = self.pid_of(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def await_restart(self, part: str, killed_pid: int) -> None:
        """Return once the supervisor runs a successor of a killed part and the whole instance answers."""

        def runs_again() -> bool:
            process = self._state().get("processes", {}).get(part)
            return process is not None and process["pid"] != killed_pid and self.is_healthy()

        wait_until(runs_again, seconds=RESTART_SECONDS_MAX, what=lambda: f"{part} again\n{self.log_ends()}")

    def is_healthy(self) -> bool:
        """Tell whether the API says it is ready and the rails tell their truth."""
        with contextlib.suppress(httpx.TransportError):
            addresses = (f"{self.sandbox['api_url']}/readyz", f"{self.sandbox['rails_url']}/healthz")
            return all(httpx.get(address, timeout=5, trust_env=False).is_success for address in addresses)
        return False

    def run_command(self, *arguments: str, seconds: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """Run a `ledgerline` command against this instance, as a person would."""
        return subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _state(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            state: dict[str, Any] = json.loads((self.home / "state.json").read_text())
            return state
        return {}

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self._process.pid).children(recursive=True))
        return []

    def _kill(self, family: list[psutil.Process]) -> None:
        for process in family:
            # psutil compares start times, so a pid that was given to somebody else is not touched.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


@contextlib.contextmanager
def running_instance(home: Path) -> Iterator[LedgerlineInstance]:
    """A started instance that is stopped, and if need be killed, on the way out."""
    home.mkdir(parents=True, exist_ok=True)
    instance = LedgerlineInstance(home)
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()
