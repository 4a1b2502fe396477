"""One exchange with a rail over HTTP: an order goes out, and an answer or the reading of a silence comes back.

Decides how connections are kept and how long is waited. What an answer means is the adapter's, what a
failure proves is `outcomes.py`'s.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from domain.rail import Outcome, RailAnswer
from rails.outcomes import classify_failure

CONNECT_SECONDS_MAX = 2.0
# Below what servers usually keep, so that an idle connection is seldom closed under an order.
KEEP_ALIVE_SECONDS = 60.0
CONNECTIONS_MAX = 512
KEPT_CONNECTIONS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a rail sent back, whole. `latency_ms` is the rail's own time, measured around the call."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    latency_ms: float

    def silence(self, outcome: Outcome, detail: str) -> RailAnswer:
        """Return this reply read as one that does not say what became of the order."""
        return RailAnswer(outcome=outcome, latency_ms=self.latency_ms, detail=detail)


def open_client(base_url: str, *, verify: bool = True, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """Return a pooled client for one provider. Proxies of the environment and redirects are ignored."""
    limits = httpx.Limits(
        max_connections=CONNECTIONS_MAX,
        max_keepalive_connections=KEPT_CONNECTIONS_MAX,
        keepalive_expiry=KEEP_ALIVE_SECONDS,
    )
    return httpx.AsyncClient(
        base_url=base_url, limits=limits, trust_env=False, follow_redirects=False, verify=verify, headers=headers
    )


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: httpx.URL | str,
    *,
    deadline_seconds: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Reply | RailAnswer:
    """Send an order and receive its answer whole; a failure comes back as the answer it amounts to.

    One overall deadline instead of httpx's own for each read: a rail that trickles is late too. One 307
    on the same host is followed: whoever sends it did nothing. Never raises for what a rail or a
    network does.
    """
    started = time.perf_counter()
    connect_seconds = min(CONNECT_SECONDS_MAX, deadline_seconds / 2)
    timeouts = {"connect": connect_seconds, "pool": connect_seconds, "read": None, "write": None}
    target = client.base_url.join(url)
    try:
        async with asyncio.timeout(deadline_seconds):
            response = await _send(client, method, target, headers, body, timeouts)
            if response.status_code == 307:
                moved = target.join(response.headers.get("location", ""))
                if moved.host == target.host:
                    response = await _send(client, method, moved, headers, body, timeouts)
    except TimeoutError:
        return _silence(Outcome.UNKNOWN, started, f"no answer within {deadline_seconds:g} s")
    except httpx.HTTPError as error:
        return _silence(classify_failure(error), started, type(error).__name__)
    return Reply(
        status=response.status_code,
        body=response.content,
        headers=response.headers,
        latency_ms=_elapsed_ms(started),
    )


async def _send(
    client: httpx.AsyncClient,
    method: str,
    url: httpx.URL,
    headers: Mapping[str, str] | None,
    body: bytes | None,
    timeouts: Mapping[str, float | None],
) -> httpx.Response:
    request = httpx.Request(
        method,
        url,
        headers={**client.headers, **(headers or {})},
        content=body,
        extensions={"timeout": dict(timeouts)},
    )
    return await client.send(request)


def _silence(outcome: Outcome, started: float, detail: str) -> RailAnswer:
    return RailAnswer(outcome=outcome, latency_ms=_elapsed_ms(started), detail=detail)


def _elapsed_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000
