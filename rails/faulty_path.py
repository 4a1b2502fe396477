"""A path to a rail that breaks on demand: an HTTP proxy for the contract suite, in front of any real counterpart.

Decides how one call breaks; the rail behind it is whatever server is to be tested against. Never for
production.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["refuse", "drop_before", "drop_after", "garble", "error500", "error500_after", "late"]

HEAD_BYTES_MAX = 64 * 1024
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
GARBAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<html>\x00}]"
)


@dataclass(frozen=True)
class _Call:
    head: bytes
    body: bytes


class FaultyPath:
    """Listens on a free port of 127.0.0.1 and forwards each call to `upstream`, one connection a call.

    `break_next` breaks the next call only; `heal` takes back a refusal. With `only`, calls whose body lacks it pass
    unharmed, for rails that ask before they order. One event loop.
    """

    def __init__(self, upstream: str, *, late_seconds: float = 1.0, only: bytes = b"") -> None:
        parts = urlsplit(upstream)
        assert parts.scheme == "http" and parts.hostname and parts.port
        self._host, self._upstream_port = parts.hostname, parts.port
        self._late_seconds = late_seconds
        self.only = only
        self._fault: Fault | None = None
        self._server: asyncio.Server | None = None
        self._port = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Return where the adapter finds the rail."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen; on the port of before, if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=HEAD_BYTES_MAX)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in tuple(self._open):
            writer.transport.abort()
        if server is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), 5)

    async def break_next(self, fault: Fault) -> None:
        """Break the next call; `refuse` lets nobody connect until `heal`."""
        if fault == "refuse":
            await self.stop()
        else:
            self._fault = fault

    def delay_next(self) -> None:
        """Let the next call take effect and its answer come late."""
        self._fault = "late"

    async def heal(self) -> None:
        """Listen again after a refusal, and forget a fault that met no call. Idempotent."""
        self._fault = None
        if self._server is None:
            await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            call = await _read_call(reader)
            if call is not None:
                await self._answer(call, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # either end left: so does the other
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, call: _Call, writer: asyncio.StreamWriter) -> None:
        fault = self._fault if self.only in call.body else None
        self._fault = self._fault if fault is None else None
        steps: dict[Fault | None, Callable[[], Awaitable[bytes | None]]] = {
            None: lambda: self._forward(call),
            "drop_before": _nothing,
            "error500": _error,
            "drop_after": lambda: self._instead(call, None),
            "garble": lambda: self._instead(call, GARBAGE),
            "error500_after": lambda: self._instead(call, ERROR),
            "late": lambda: self._late(call),
        }
        answer = await steps[fault]()
        if answer is None:
            writer.transport.abort()
        else:
            writer.write(answer)
            await writer.drain()

    async def _instead(self, call: _Call, answer: bytes | None) -> bytes | None:
        await self._forward(call)
        return answer

    async def _late(self, call: _Call) -> bytes:
        answer = await self._forward(call)
        await asyncio.sleep(self._late_seconds)
        return answer

    async def _forward(self, call: _Call) -> bytes:
        """Return the upstream's whole answer. A call without a connection of its own would hide what was kept alive."""
        reader, writer = await asyncio.open_connection(self._host, self._upstream_port)
        try:
            lines = [line for line in call.head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            writer.write(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]) + call.body)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()


async def _nothing() -> None:
    return None


async def _error() -> bytes:
    return ERROR


async def _read_call(reader: asyncio.StreamReader) -> _Call | None:
    """Return one request, None when the client just leaves. Bodies come with their length."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return _Call(head, await reader.readexactly(length))
