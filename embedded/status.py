"""What a person in front of `ledgerline up` sees: progress, then a live status; single lines when piped."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One line of the live status."""

    name: str
    state: str
    where: str
    pid: int | None
    restarts: int


class StatusBoard:
    """Prints to standard output, flushed line by line; redraws in place only on a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._progressing = False
        self._started = time.monotonic()

    def note(self, line: str) -> None:
        """Print one line that stays."""
        self._console.print(self._over_progress() + line, markup=False)
        sys.stdout.flush()

    def progress(self, line: str) -> None:
        """Say what is going on now; on a terminal the next line takes its place."""
        if self._console.is_terminal:
            sys.stdout.write(f"{self._over_progress()}{line}")
            sys.stdout.flush()
            self._progressing = True
        else:
            self.note(line)

    def _over_progress(self) -> str:
        """Return what clears an unfinished progress line."""
        clear, self._progressing = ("\r\x1b[2K" if self._progressing else ""), False
        return clear

    def fail(self, sentence: str) -> None:
        """Print the one sentence of a failure to standard error."""
        self.close()
        sys.stdout.write(self._over_progress())
        print(sentence, file=sys.stderr, flush=True)

    def show(self, statuses: Sequence[ServerStatus]) -> None:
        """Redraw the live table on a terminal; elsewhere the notes of what changes are enough."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False, transient=True)
                self._live.start()
            self._live.update(self._table(statuses), refresh=True)

    def close(self) -> None:
        """Give the terminal back. Idempotent."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self, statuses: Sequence[ServerStatus]) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for status in statuses:
            colour = "green" if status.state == "running" else "yellow"
            restarts = f"restarted {status.restarts}×" if status.restarts else ""
            pid = f"pid {status.pid}" if status.pid else ""
            table.add_row(Text("●", style=colour), status.name, status.state, status.where, pid, restarts)
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        clock = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        return Group(table, Text(f"up {clock} · Ctrl-C stops everything and loses nothing", style="dim"))
