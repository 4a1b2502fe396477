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
    WireAnswer,
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

NetworkClock = Callable[[], datetime]


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

    def __init__(self, profile: RailProfile, client: httpx.AsyncClient, *, now: NetworkClock = utc_now) -> None:
        self._profile = profile
        self._client = client
        self._now = now
        self._orders = {flow: client.base_url.join(f"/rails/{profile.name}/{flow.value}") for flow in profile.flows}

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    async def aclose(self) -> None:
        """Close the shared connections. Idempotent."""
        await self._client.aclose()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the rail; see `rails.adapter.RailAdapter.execute`."""
        if request.flow not in self._orders:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        if request.resumed and not self._profile.idempotent:
            earlier = await self.inquire(
                flow=request.flow,
                rail_key=request.rail_key,
                sent_at=self._now(),
                deadline_seconds=request.deadline_seconds,
            )
            if earlier.outcome is not Outcome.NOT_ATTEMPTED:
                return earlier
        headers = {"Content-Type": "application/json", "Idempotency-Key": request.rail_key}
        order = httpx.Request(
            "POST", self._orders[request.flow], headers=headers, content=encode_order(request, card)
        )
        return await self._ask(
            order,
            lambda answer: self._read_order_answer(answer, request),
            deadline_seconds=request.deadline_seconds,
        )

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Ask what became of an order; see `rails.adapter.RailAdapter.inquire`."""
        horizon = self._profile.not_found_final_after_seconds
        closing = horizon is not None and (self._now() - sent_at).total_seconds() >= horizon
        path = f"/rails/{self._profile.name}/operations/{quote(rail_key, safe='')}"
        question = httpx.Request("GET", self._client.base_url.join(path + ("?close=true" if closing else "")))
        answer = await self._ask(
            question, lambda found: self._read_inquiry_answer(found, rail_key), deadline_seconds=deadline_seconds
        )
        return answer
