"""A child of ours that serves HTTP: start it, wait until it answers, stop it gently."""

import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedded.processes import StartFailure, launch, log_tail, owns_port, port_is_free, rotate_log, stop


class HttpServer:
    """One process that listens on 127.0.0.1:`port` and answers 2xx at `ready_path` when it is ready.

    `port_variable` names the environment variable with which a person moves it elsewhere.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        port_variable: str,
        ready_path: str,
        log_path: Path,
        environment: Mapping[str, str],
        cwd: Path,
        stop_patience_seconds: float = 20.0,
    ) -> None:
        self.name = name
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._command = tuple(command)
        self._port_variable = port_variable
        self._ready_path = ready_path
        self._log = log_path
        self._environment = dict(environment)
        self._cwd = cwd
        self._stop_patience_seconds = stop_patience_seconds

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        """Ask it whether it is ready, for at most two seconds."""
        try:
            with urllib.request.urlopen(self.url + self._ready_path, timeout=2) as answer:
                return 200 <= int(answer.status) < 300
        except (OSError, ValueError):
            return False

    def start(self, *, patience_seconds: float = 60.0) -> None:
        """Start it and return once it is ready.

        Raises:
            StartFailure: its port is taken, it ended, or it never became ready. Not retryable.
        """
        assert self.process is None or self.process.poll() is not None, "already running"
        if not port_is_free(self.port):
            raise StartFailure(
                f"Port {self.port} is already in use: {self.name} needs it; set {self._port_variable} to a free port."
            )
        rotate_log(self._log)
        before = self._log.stat().st_size if self._log.exists() else 0
        # Killed with its supervisor: what it would drain into dies at the same moment, and a crash loses nothing.
        self.process = launch(
            self._command,
            log_path=self._log,
            environment=self._environment,
            cwd=self._cwd,
            death_signal=signal.SIGKILL,
        )
        deadline = time.monotonic() + patience_seconds
        while not (owns_port(self.process.pid, self.port) and self.is_ready()):
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                said = [line for line in log_tail(self._log, before).splitlines() if line.strip()]
                last = said[-1].strip()[:300] if said else "it said nothing"
                problem = "could not start" if ended else "did not become ready in time"
                raise StartFailure(f"{self.name} {problem} ({last}); see {self._log}.")
            time.sleep(0.05)

    def stop(self) -> None:
        """Let it finish what it does, then end it. Idempotent."""
        if self.process is not None:
            stop(self.process, ask=signal.SIGTERM, patience_seconds=self._stop_patience_seconds)
