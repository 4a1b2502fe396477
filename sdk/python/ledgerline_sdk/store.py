"""Where a consumer remembers how far it is: in the database its handler writes to, so that both commit together."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

_TABLE = "CREATE TABLE IF NOT EXISTS ledgerline_cursor (stream TEXT PRIMARY KEY, sequence INTEGER NOT NULL)"


class Position(Protocol):
    """A consumer's place, inside a transaction of its own."""

    connection: Any

    def read(self) -> int:
        """Return the last sequence that was handled, 0 for none."""
        ...

    def move(self, sequence: int) -> None:
        """Remember that everything up to a sequence was handled."""
        ...


class CursorStore(Protocol):
    """Implement it on your own database: one transaction at a time for a stream."""

    def transaction(self) -> Any:
        """Return a context manager of a `Position`: commits when left, rolls back on an error."""
        ...


class SqlitePosition:
    """A place in a SQLite database."""

    def __init__(self, connection: sqlite3.Connection, stream: str) -> None:
        self.connection = connection
        self._stream = stream

    def read(self) -> int:
        """Return the last sequence that was handled, 0 for none."""
        row = self.connection.execute("SELECT sequence FROM ledgerline_cursor WHERE stream = ?", (self._stream,))
        found = row.fetchone()
        return int(found[0]) if found else 0

    def move(self, sequence: int) -> None:
        """Remember that everything up to a sequence was handled."""
        self.connection.execute(
            "INSERT INTO ledgerline_cursor VALUES (?, ?)"
            " ON CONFLICT (stream) DO UPDATE SET sequence = excluded.sequence",
            (self._stream, sequence),
        )


class SqliteCursorStore:
    """A store in a SQLite file; several processes may share it. One stream for each merchant and mode."""

    def __init__(self, path: Path | str, stream: str = "default") -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(_TABLE)
        self._stream = stream
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[SqlitePosition]:
        """Give the place; what is written on its connection commits with the cursor, or not at all."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield SqlitePosition(self._connection, self._stream)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
