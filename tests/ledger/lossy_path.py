"""A TCP path to PostgreSQL that swallows answers, breaks and refuses, as networks do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class LossyPath:
    """Carries connections until told to swallow what the server answers, to cut them, or to refuse new ones."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.swallowing = False
        self.refusing = False
        self.swallowed = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        if self.refusing:
            writer.close()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        self._writers += [writer, far_writer]
        for source, sink, answers in ((reader, far_writer, False), (far_reader, writer, True)):
            task = asyncio.create_task(self._carry(source, sink, answers=answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(65536):
                if answers and self.swallowing:
                    self.swallowed.set()
                    continue
                sink.write(chunk)
        sink.close()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def lossy(url: str) -> AsyncIterator[tuple[LossyPath, str]]:
    """A lossy path and the URL that leads over it."""
    parts = conninfo_to_dict(url)
    path = LossyPath(str(parts["host"]), int(parts["port"] or 5432))
    server = await asyncio.start_server(path.serve, "127.0.0.1", 0)
    try:
        yield path, make_conninfo(url, host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    finally:
        server.close()
        path.cut()
