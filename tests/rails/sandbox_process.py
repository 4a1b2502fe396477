"""A real sandbox process on a free port, to be started, killed and started again."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]


class SandboxProcess:
    """One `python -m rails.sandbox` with its own data folder."""

    def __init__(self, folder: Path, *, callback_url: str | None = None, callback_secret: str = "") -> None:
        self._folder = folder
        self._callback = ["--callback-url", callback_url, "--callback-secret", callback_secret] if callback_url else []
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def truth_file(self) -> Path:
        return self._folder / "truth.jsonl"

    def start(self) -> None:
        port = self.url.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "rails.sandbox", "--port", port, "--data", str(self._folder), *self._callback]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "listening on" in line, line
        self.url = line.split()[-1]
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(transport=transport, trust_env=False) as client:
            client.get(f"{self.url}/healthz").raise_for_status()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def truth(self) -> dict[str, Any]:
        return dict(self._call("GET", "/truth"))

    def row(self, rail_key: str) -> dict[str, Any] | None:
        rows = [row for row in self.truth()["operations"] if row["rail_key"] == rail_key]
        assert len(rows) <= 1, f"{rail_key} took effect {len(rows)} times"
        return rows[0] if rows else None

    def inject(self, **fault: Any) -> None:
        self._call("POST", "/faults", fault)

    def heal(self) -> None:
        self._call("DELETE", "/faults")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(method, f"{self.url}{path}", json=body, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def _end(self, signal_number: int) -> None:
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait(10)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
