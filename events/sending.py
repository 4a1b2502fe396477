"""One request to one endpoint, and what came of it. Never raises for what an endpoint does.

No redirect is followed, no proxy of the environment used, at most a few kilobytes of an answer are read.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType

import certifi
import httpcore

from domain.identifiers import Mode
from domain.webhooks import RESPONSE_SECONDS_MAX
from events.addresses import AddressRefusedError, GuardedBackend

REQUEST_BYTES_MAX = 1_048_576
RESPONSE_BYTES_READ_MAX = 16_384
RESPONSE_CHARACTERS_KEPT = 1_000
CONNECTIONS_MAX = 1_000
IDLE_CONNECTIONS_MAX = 200
IDLE_SECONDS_MAX = 20.0
USER_AGENT = "Ledgerline-Webhooks/1"
GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request: when, how long (milliseconds), the answer's status or what went wrong without one.

    `response` is the beginning of the answer's body; `retry_after` what it asked for, in seconds.
    """

    at: datetime
    duration_ms: int
    response_status: int | None = None
    error: str | None = None
    response: str | None = None
    retry_after: float | None = None

    @property
    def succeeded(self) -> bool:
        """Any 2xx; a redirect is a failure."""
        return self.response_status is not None and 200 <= self.response_status < 300

    @property
    def gone(self) -> bool:
        """The endpoint says it wants no more."""
        return self.response_status == GONE


class Sender:
    """Connections to the endpoints of one mode; live ones to public addresses only."""

    def __init__(
        self,
        mode: Mode,
        *,
        response_seconds_max: float = RESPONSE_SECONDS_MAX,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._response_seconds_max = response_seconds_max
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or ssl.create_default_context(cafile=certifi.where()),
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=IDLE_CONNECTIONS_MAX,
            keepalive_expiry=IDLE_SECONDS_MAX,
            retries=0,
            network_backend=GuardedBackend(public_only=mode is Mode.LIVE),
        )

    async def __aenter__(self) -> "Sender":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        await self._pool.aclose()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """POST a body and return what came of it, within the time an endpoint may take."""
        at, started = datetime.now(UTC), time.perf_counter()
        status: int | None = None
        error = response = None
        retry_after: float | None = None
        if len(body) > REQUEST_BYTES_MAX:
            return Attempt(at=at, duration_ms=0, error="payload_too_large")
        try:
            async with asyncio.timeout(self._response_seconds_max):
                status, response, retry_after = await self._exchange(url, headers, body)
        except AddressRefusedError:
            error = "address_not_public"
        except (TimeoutError, httpcore.TimeoutException):
            error = "timeout"
        except ssl.SSLError:
            error = "tls_failed"
        except httpcore.ConnectError as failure:
            error = "tls_failed" if isinstance(failure.__cause__, ssl.SSLError) else "connection_failed"
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError):
            error = "connection_broken"
        return Attempt(
            at=at,
            duration_ms=round(1_000 * (time.perf_counter() - started)),
            response_status=status,
            error=error,
            response=response,
            retry_after=retry_after,
        )

    async def _exchange(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str, float | None]:
        sent = {"content-type": "application/json", "user-agent": USER_AGENT, **headers}
        # `url` was checked when the endpoint was made; httpcore keeps its host for SNI and Host.
        async with self._pool.stream(
            "POST",
            url,
            headers=[(name.encode(), value.encode()) for name, value in sent.items()],
            content=body,
            extensions={"timeout": dict.fromkeys(("read", "write", "pool"), self._response_seconds_max)},
        ) as answer:
            kept = b""
            async for part in answer.aiter_stream():
                kept += part
                if len(kept) >= RESPONSE_BYTES_READ_MAX:
                    break
            fields = {name.lower(): value for name, value in answer.headers}
            return answer.status, _text(kept), _retry_after(fields.get(b"retry-after"))


def _text(body: bytes) -> str:
    """Return what is kept of an answer: PostgreSQL stores no NUL."""
    return body[:RESPONSE_BYTES_READ_MAX].decode(errors="replace").replace("\0", "�")[:RESPONSE_CHARACTERS_KEPT]


def _retry_after(value: bytes | None) -> float | None:
    """Return Retry-After in seconds: a number, or a date from now. Nonsense is no wish."""
    if value is None:
        return None
    text = value.decode("ascii", errors="replace").strip()
    if text.isdigit():
        return float(min(int(text), 10**9))
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
