"""The acquirer's side of the line: frames in, answers out, and faults on demand.

Decides how a message is broken; what it does is the book's. Faults: `silent_before` and `cut_before` (nothing
done), `silent_after` and `cut_after` (done, no answer), `delay`, `duplicate` (answered twice), `wrong_stan` (answered
under another trace number), `garble` (done, answered with noise), `refuse` (nobody listens until it is healed).
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import iso8583
from iso8583.specs import default_ascii

from rails.sandbox.acquirer.book import AcquirerBook

FAULT_KINDS = frozenset(
    {"silent_before", "silent_after", "cut_before", "cut_after", "delay", "duplicate", "wrong_stan", "garble", "refuse"}
)
NETWORK = "08"
ECHOED = ("4", "7", "11", "37", "41", "42", "48", "49", "70")
PURCHASES = {"0100": "authorize", "0200": "sale", "0201": "sale"}
DELAY_SECONDS = 1.0


@dataclass(slots=True)
class _Fault:
    kind: str
    remaining: int


class AcquirerHost:
    """Listens for terminals' connections. One event loop."""

    def __init__(self, book: AcquirerBook, host: str, port: int) -> None:
        self._book = book
        self._host, self.port = host, port
        self._faults: list[_Fault] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen; on the port of before, if there was one."""
        self._server = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in tuple(self._open):
            writer.transport.abort()

    async def inject(self, kind: str, count: int) -> None:
        """Break the next `count` orders; `refuse` lets nobody connect until `heal`.

        Raises:
            ValueError: there is no such fault. Not retryable.
        """
        if kind not in FAULT_KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(FAULT_KINDS))}")
        if kind == "refuse":
            await self.stop()
        else:
            self._faults.append(_Fault(kind, count))

    async def heal(self) -> None:
        """Be a healthy acquirer again. Idempotent."""
        self._faults.clear()
        if self._server is None:
            await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        busy: set[asyncio.Task[None]] = set()
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                body = await reader.readexactly(length)
                task = asyncio.create_task(self._take(body, writer))
                busy.add(task)
                task.add_done_callback(busy.discard)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for task in busy:
                task.cancel()
            self._open.discard(writer)
            writer.close()

    async def _take(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await self._answer(body, writer)

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            elements, _ = iso8583.decode(body, default_ascii)
        except iso8583.DecodeError:
            writer.transport.abort()
            return
        fault = None if elements["t"].startswith(NETWORK) else self._draw()
        if fault in ("silent_before", "cut_before"):
            if fault == "cut_before":
                writer.transport.abort()
            return
        answer = self._decide(elements)
        if fault in ("silent_after", "cut_after"):
            if fault == "cut_after":
                writer.transport.abort()
            return
        if fault == "delay":
            await asyncio.sleep(DELAY_SECONDS)
        if fault == "wrong_stan":
            answer["11"] = f"{(int(answer['11']) + 500_000) % 1_000_000:06d}"
        frame = self._frame(answer)
        if fault == "garble":
            frame = len(b"\x00<html>").to_bytes(2, "big") + b"\x00<html>"
        writer.write(frame * 2 if fault == "duplicate" else frame)
        await writer.drain()

    def _draw(self) -> str | None:
        while self._faults:
            fault = self._faults[0]
            if fault.remaining > 0:
                fault.remaining -= 1
                return fault.kind
            self._faults.pop(0)
        return None

    def _decide(self, elements: dict[str, str]) -> dict[str, str]:
        mti = elements["t"]
        answer = {name: elements[name] for name in ECHOED if name in elements}
        answer["t"] = f"{mti[:2]}{int(mti[2]) + 1}0"
        if mti.startswith(NETWORK):
            answer["39"] = "00"
        elif mti in PURCHASES:
            answer["39"], auth_code = self._book.purchase(elements, PURCHASES[mti])
            if auth_code is not None:
                answer["38"] = auth_code
        elif mti in ("0220", "0221"):
            answer["39"] = self._book.advise(elements)
        elif mti in ("0400", "0401"):
            answer["39"] = self._book.reverse(elements)
        else:
            answer["39"] = "12"
        return answer

    def _frame(self, answer: dict[str, Any]) -> bytes:
        raw, _ = iso8583.encode(dict(answer), default_ascii)
        return len(raw).to_bytes(2, "big") + bytes(raw)
