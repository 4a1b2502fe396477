"""The sandbox's memory on disk: one append-only file of JSON lines.

Decides how a line gets there before an answer goes out, and what a torn last line means after a
kill -9 (it was never answered for, so it is cut off). It does not know what the lines say.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Journal:
    """Append-only JSON lines of one process. Survives a killed process, not a lost machine (no fsync).

    Raises:
        BlockingIOError: another process writes this journal. Not retryable.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def replay(self) -> Iterator[Line]:
        """Yield every whole line from the start; cut off a torn last one.

        Raises:
            ValueError: a line before the last is not JSON: the file was edited. Not retryable.
        """
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._descriptor, whole)
        for number, raw in enumerate(content[:whole].splitlines(), start=1):
            try:
                yield json.loads(raw)
            except ValueError as error:
                raise ValueError(f"{self._path}, line {number} is not JSON: the file was edited") from error

    def append(self, line: Line) -> None:
        """Write one whole line; it is in the kernel's hands when this returns."""
        remaining = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        while remaining:
            remaining = remaining[os.write(self._descriptor, remaining) :]

    def close(self) -> None:
        """Close the file. Nothing is buffered, so nothing is lost without it."""
        os.close(self._descriptor)
