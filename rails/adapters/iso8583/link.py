"""The TCP link to an acquirer: one connection, many questions under way, each answered by its trace number.

Decides what a failure proves: before the first byte of an order has left, nothing was done; after it, nobody
knows. Signs on before anything else, and tries an idle connection with an echo before it is trusted again.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.rail import Outcome, RailAnswer
from rails.adapters.iso8583.message import (
    ECHO,
    FRAME_BYTES_MAX,
    LENGTH_BYTES,
    SIGN_ON,
    GarbledMessageError,
    Message,
    answer_to,
    decode,
    encode,
)

CONNECT_SECONDS_MAX = 2.0
IDLE_SECONDS = 20.0
"""A connection that was silent this long is tried with an echo before an order goes out on it."""

NetworkMessage = Callable[[str], Awaitable[Message]]
"""Makes a sign-on or echo (element 70) with a trace number of its own."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with the time it took, in milliseconds."""

    message: Message
    latency_ms: float


class _LinkLostError(Exception):
    """The connection broke while an answer was awaited."""


class AcquirerLink:
    """One connection, opened when it is needed. One event loop only.

    `on_late` is told of answers that came after their question was given up.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        network_message: NetworkMessage,
        on_late: Callable[[Message], None],
    ) -> None:
        self._address = (host, port)
        self._network_message = network_message
        self._on_late = on_late
        self._opening = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._heard_at = 0.0

    @property
    def connected(self) -> bool:
        """Tell whether there is a connection that nobody has seen break."""
        return self._writer is not None

    async def exchange(self, message: Message, *, until: float) -> Answered | RailAnswer:
        """Send a message and return its answer; what went wrong comes back as the answer it amounts to.

        `until` is a moment of `time.monotonic()`. Never raises for what the acquirer or the network does.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout(max(0.01, min(CONNECT_SECONDS_MAX, until - time.monotonic()))):
                writer = await self._ready()
        except (OSError, TimeoutError, _LinkLostError) as error:
            return _silence(Outcome.NOT_ATTEMPTED, started, f"no connection: {type(error).__name__}")
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.01, until - time.monotonic())):
                answer = await self._ask(writer, message)
        except (OSError, TimeoutError, _LinkLostError) as error:
            return _silence(Outcome.UNKNOWN, started, f"no answer: {type(error).__name__}")
        return Answered(answer, (time.perf_counter() - started) * 1000)

    async def aclose(self) -> None:
        """Close the connection. Idempotent."""
        reading, self._reading = self._reading, None
        self._drop()
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _ready(self) -> asyncio.StreamWriter:
        """Return a connection that is signed on and, after a silence, has answered an echo."""
        async with self._opening:
            writer = self._writer
            if writer is not None and time.monotonic() - self._heard_at > IDLE_SECONDS:
                writer = await self._tried(writer)
            if writer is None or self._writer is None:
                writer = await self._open()
            return writer

    async def _tried(self, writer: asyncio.StreamWriter) -> asyncio.StreamWriter | None:
        """Return an idle connection that still answers an echo, None for one that doesn't."""
        try:
            await self._greet(writer, ECHO)
        except (OSError, _LinkLostError):
            return None
        except BaseException:
            self._drop()
            raise
        return writer

    async def _open(self) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection(*self._address, limit=FRAME_BYTES_MAX)
        self._writer = writer
        self._reading = asyncio.create_task(self._read(reader, writer), name="acquirer link")
        try:
            await self._greet(writer, SIGN_ON)
        except BaseException:
            self._drop()
            raise
        return writer

    async def _greet(self, writer: asyncio.StreamWriter, code: str) -> None:
        answer = await self._ask(writer, await self._network_message(code))
        if answer.get(39) != "00":
            self._drop()
            raise _LinkLostError("the acquirer does not take us on")

    async def _ask(self, writer: asyncio.StreamWriter, message: Message) -> Message:
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        key = f"{answer_to(message.mti)}/{message.stan}"
        self._waiting[key] = future
        try:
            writer.write(encode(message))
            await writer.drain()
            return await future
        finally:
            self._waiting.pop(key, None)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand each answer to whoever waits for it, until the connection ends or talks nonsense."""
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
                if not 0 < length <= FRAME_BYTES_MAX:
                    raise GarbledMessageError("a frame of no sensible length")
                message = decode(await reader.readexactly(length))
                self._heard_at = time.monotonic()
                future = self._waiting.get(f"{message.mti}/{message.stan}")
                if future is None:
                    self._on_late(message)
                elif not future.done():
                    future.set_result(message)
        except (OSError, asyncio.IncompleteReadError, GarbledMessageError):
            pass  # what was under way is unknown from here on
        finally:
            if self._writer is writer:
                self._drop()
            writer.close()

    def _drop(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_LinkLostError("the connection ended"))


def _silence(outcome: Outcome, started: float, detail: str) -> RailAnswer:
    return RailAnswer(outcome=outcome, latency_ms=(time.perf_counter() - started) * 1000, detail=detail)
