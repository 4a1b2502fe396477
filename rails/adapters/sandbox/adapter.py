"""The adapter of one sandbox rail over HTTP/1.1.

Decides how an order travels and how its answer, or the lack of one, becomes a RailAnswer. It knows
no test token: whatever happens, happens on the wire.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailProfile
from rails.adapters.sandbox.wire import (
    GarbledAnswerError,
    decode_answer,
    encode_order,
    says_closed,
    says_not_attempted,
)
from rails.outcomes import classify_decline, classify_failure, classify_status

CONNECT_SECONDS_MAX = 2.0
# Below the sandbox's own keep-alive, so that an idle connection is never closed under an order.
KEEP_ALIVE_SECONDS = 60.0
CONNECTIONS_MAX = 512
KEPT_CONNECTIONS_MAX = 64

UtcClock = Callable[[], datetime]


def open_client(base_url: str) -> httpx.AsyncClient:
    """Return the pooled client that the sandbox rails share. Proxies of the environment are ignored."""
    limits = httpx.Limits(
        max_connections=CONNECTIONS_MAX,
        max_keepalive_connections=KEPT_CONNECTIONS_MAX,
        keepalive_expiry=KEEP_ALIVE_SECONDS,
    )
    return httpx.AsyncClient(base_url=base_url, limits=limits, trust_env=False, follow_redirects=False)


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


class SandboxRailAdapter:
    """One rail of the sandbox process; implements `rails.adapter.RailAdapter`."""

    def __init__(self, profile: RailProfile, client: httpx.AsyncClient, *, now: UtcClock = utc_now) -> None:
        self._profile = profile
        self._client = client
        self._now = now
        self._order_urls = {flow: client.base_url.join(f"/rails/{profile.name}/{flow.value}") for flow in profile.flows}

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    async def aclose(self) -> None:
        """Close the shared connections. Idempotent."""
        await self._client.aclose()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the rail; see `rails.adapter.RailAdapter.execute`."""
        url = self._order_urls.get(request.flow)
        if url is None:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        if request.resumed and not self._profile.idempotent:
            # The horizon counts from now, so an order it doesn't know stays UNKNOWN and is not re-sent.
            return await self.inquire(
                flow=request.flow,
                rail_key=request.rail_key,
                sent_at=self._now(),
                deadline_seconds=request.deadline_seconds,
            )
        started = time.perf_counter()
        headers = {"Content-Type": "application/json", "Idempotency-Key": request.rail_key}
        try:
            response = await self._exchange(
                "POST", url, request.deadline_seconds, headers=headers, body=encode_order(request, card)
            )
        except TimeoutError:
            return _silence(Outcome.UNKNOWN, started, f"no answer within {request.deadline_seconds:g} s")
        except httpx.HTTPError as error:
            return _silence(classify_failure(error), started, type(error).__name__)
        return self._read_order_response(response, request, started)

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Ask what became of an order; see `rails.adapter.RailAdapter.inquire`."""
        started = time.perf_counter()
        horizon = self._profile.not_found_final_after_seconds
        closing = horizon is not None and (self._now() - sent_at).total_seconds() >= horizon
        path = f"/rails/{self._profile.name}/operations/{quote(rail_key, safe='')}"
        url = self._client.base_url.join(path + "?close=true" if closing else path)
        try:
            response = await self._exchange("GET", url, deadline_seconds)
        except (TimeoutError, httpx.HTTPError) as error:
            # A question that failed says nothing about the order, whatever the failure.
            return _silence(Outcome.UNKNOWN, started, f"inquiry failed: {type(error).__name__}")
        if response.status_code == 404:
            if closing and says_closed(response.content):
                return _silence(Outcome.NOT_ATTEMPTED, started, "the rail guarantees that it never happened")
            return _silence(Outcome.UNKNOWN, started, "not known to the rail (yet)")
        if response.status_code != 200:
            return _silence(Outcome.UNKNOWN, started, f"inquiry answered {response.status_code}")
        return self._read_answer(response, rail_key, started)

    async def _exchange(
        self,
        method: str,
        url: httpx.URL,
        deadline_seconds: float,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> httpx.Response:
        """Send and receive whole, following one 307 on the same host: whoever sends it did nothing.

        One overall deadline instead of httpx's own for each read: a rail that trickles is late too.
        """
        connect_seconds = min(CONNECT_SECONDS_MAX, deadline_seconds / 2)
        extensions = {"timeout": {"connect": connect_seconds, "pool": connect_seconds, "read": None, "write": None}}
        async with asyncio.timeout(deadline_seconds):
            request = httpx.Request(method, url, headers=headers, content=body, extensions=extensions)
            response = await self._client.send(request)
            if response.status_code == 307:
                target = url.join(response.headers.get("location", ""))
                if target.host == url.host:
                    request = httpx.Request(method, target, headers=headers, content=body, extensions=extensions)
                    response = await self._client.send(request)
        return response

    def _read_order_response(self, response: httpx.Response, request: RailRequest, started: float) -> RailAnswer:
        status = response.status_code
        if status == 200:
            return self._read_answer(
                response, request.rail_key, started, amount_minor=request.amount_minor, currency=request.currency
            )
        outcome = classify_status(
            status, says_not_attempted=says_not_attempted(response.content), guarantees_not_attempted=True
        )
        if outcome is Outcome.DECLINED:
            return RailAnswer(
                outcome=outcome,
                decline_code="order_malformed",
                decline_class=DeclineClass.HARD,
                latency_ms=_elapsed_ms(started),
                detail=f"the rail answered {status}",
            )
        return _silence(outcome, started, f"the rail answered {status}")

    def _read_answer(
        self,
        response: httpx.Response,
        rail_key: str,
        started: float,
        *,
        amount_minor: int | None = None,
        currency: str | None = None,
    ) -> RailAnswer:
        try:
            answer = decode_answer(response.content, rail_key=rail_key, amount_minor=amount_minor, currency=currency)
        except GarbledAnswerError as error:
            return _silence(Outcome.UNKNOWN, started, str(error))
        decline_class = None
        if answer.decline_code is not None:
            decline_class = classify_decline(self._profile.name, answer.decline_code, answer.advice)
        return RailAnswer(
            outcome=Outcome(answer.outcome),
            decline_code=answer.decline_code,
            decline_class=decline_class,
            rail_reference=answer.reference,
            final_funds=answer.final_funds,
            latency_ms=_elapsed_ms(started),
        )


def _silence(outcome: Outcome, started: float, detail: str) -> RailAnswer:
    return RailAnswer(outcome=outcome, latency_ms=_elapsed_ms(started), detail=detail)


def _elapsed_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000
