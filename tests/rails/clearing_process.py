"""The clearing of `instant_clearing.py` as a process, with its own word on what it did and its clock."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx


class Clearing:
    """The clearing's own word on what it did, and its clock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.moved = timedelta()

    def books(self) -> dict[str, dict[str, Any]]:
        return dict(httpx.get(f"{self.url}/books", trust_env=False).json())

    def wait(self, seconds: float) -> None:
        """Let time pass, there and here."""
        httpx.post(f"{self.url}/clock", json={"seconds": seconds}, trust_env=False).raise_for_status()
        self.moved += timedelta(seconds=seconds)

    def send_back(self, key: str, reason: str) -> None:
        """Let the payee's bank return a transfer."""
        order = {"key": key, "reason": reason}
        httpx.post(f"{self.url}/returns", json=order, trust_env=False).raise_for_status()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.moved


@contextmanager
def running_clearing() -> Iterator[Clearing]:
    """A clearing on a free port, gone with the block."""
    command = [sys.executable, str(Path(__file__).with_name("instant_clearing.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Clearing(process.stdout.readline().split()[-1])
        process.terminate()
