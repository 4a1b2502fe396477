"""The outermost layer, plain ASGI: request ids, the body limit, timing, and the last catch.

No BaseHTTPMiddleware: it costs a task and a queue per request.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem, problem_from, problem_response
from api.metrics import HttpMetrics
from domain.identifiers import new_identifier

BODY_BYTES_MAX = 1_000_000
FILE_BODY_BYTES_MAX = 16 * 1024 * 1024
"""A settlement file of 50,000 lines, with room."""
CODEC_BODY_BYTES_MAX = 8 * 1024 * 1024
"""Payloads the Temporal UI sends to be decoded; Temporal's own limits are far above ours."""

DRAIN_BYTES_MAX = 64 * 1024 * 1024
DRAIN_SECONDS_MAX = 5.0

_log = logging.getLogger(__name__)


class BodyTooLargeError(Problem):
    """Too many bytes were sent; raised while reading, before all of it is here."""

    def __init__(self, most: int) -> None:
        super().__init__(
            413,
            "body_too_large",
            f"A request body may have at most {most} bytes.",
            headers={"Connection": "close"},
        )


class Edge:
    """Wraps the application: every answer, errors included, leaves with a `Request-Id`."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_identifier("req")
        scope["ledgerline.request_id"] = request_id
        started = time.perf_counter()
        status = 500
        answered = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                answered = True
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"request-id", request_id.encode())]
            await send(message)

        try:
            most = bytes_max(scope["path"])
            if declared_length(scope) > most:
                await drain(receive, declared_length(scope))
                raise BodyTooLargeError(most)
            await self._app(scope, limited(receive, most), send_with_id)
        except Exception as error:
            problem = problem_from(error)
            if problem.status == 500:
                _log.error("request %s failed", request_id, exc_info=error)
            if answered:
                raise
            await problem_response(problem, request_id)(scope, receive, send_with_id)
        finally:
            self._metrics.observe(scope, status, time.perf_counter() - started)


def bytes_max(path: str) -> int:
    """Return how long the body of a request to this path may be."""
    if path.startswith("/codec/"):
        return CODEC_BODY_BYTES_MAX
    return FILE_BODY_BYTES_MAX if path == "/v1/reconciliation/files" else BODY_BYTES_MAX


def declared_length(scope: Scope) -> int:
    """Return the Content-Length a client declares, 0 when it declares none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def limited(receive: Receive, most: int) -> Receive:
    """Return a `receive` that stops at the body limit, whether or not a length was declared."""
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message: dict[str, Any] = dict(await receive())
        seen += len(message.get("body", b""))
        if seen > most:
            if message.get("more_body"):
                await drain(receive, 0)
            raise BodyTooLargeError(most)
        return message

    return receive_limited


async def drain(receive: Receive, declared: int) -> None:
    """Read on and forget what a client still sends, within reason.

    A client that is answered while it sends sees a broken connection instead of the answer.
    """
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            while declared <= DRAIN_BYTES_MAX and seen <= DRAIN_BYTES_MAX:
                message = await receive()
                seen += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
