"""A keep-alive HTTP/1.1 client that costs next to nothing, so that the server is what is measured.

It speaks exactly what a load generator needs: one POST at a time per connection, bodies with a
Content-Length or chunked. Not a client for anything else.
"""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

ANSWER_TIMEOUT_SECONDS = 30.0
HEAD_BYTES_MAX = 65_536


class BrokenAnswerError(ConnectionError):
    """The connection ended before, or its bytes are not, a whole HTTP answer. Retry on a new connection."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status and whole body; `keep_alive` is False when the server will close the connection."""

    status: int
    body: bytes
    keep_alive: bool


class KeepAliveConnection:
    """One connection to `url` (`http://host:port`), for one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.scheme == "http" and parts.hostname is not None and parts.port is not None, url
        self._host, self._port = parts.hostname, parts.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        """Connect. Idempotent while connected.

        Raises:
            OSError: nobody listens. Retryable.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=HEAD_BYTES_MAX)

    async def close(self) -> None:
        """Hang up. Idempotent."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def encode_post(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Return a request as it goes over the wire, to be built before the clock starts."""
        fields = {"Host": f"{self._host}:{self._port}", "Content-Type": "application/json", **headers}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode("ascii") + body

    async def exchange(self, request: bytes) -> HttpAnswer:
        """Send one encoded request and return its whole answer.

        Raises:
            OSError, TimeoutError: broken, garbled or silent; the connection is closed. Retryable on a new one.
        """
        await self.open()
        assert self._streams is not None
        reader, writer = self._streams
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                writer.write(request)
                answer = await _read_answer(reader)
        except (OSError, TimeoutError):
            await self.close()
            raise
        if not answer.keep_alive:
            await self.close()
        return answer


async def _read_answer(reader: asyncio.StreamReader) -> HttpAnswer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head[:-4].split(b"\r\n")
        status = int(status_line.split(b" ", 2)[1])
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers[b"content-length"]))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError, KeyError) as error:
        raise BrokenAnswerError(f"not a whole HTTP answer: {type(error).__name__}") from error
    return HttpAnswer(status, body, headers.get(b"connection", b"").lower() != b"close")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks: list[bytes] = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";", 1)[0], 16)
        chunk = await reader.readexactly(size + 2)
        if size == 0:
            return b"".join(chunks)
        chunks.append(chunk[:-2])
