"""Telling the merchant's side about disputes and money that came back, signed, until it acknowledges.

Decides how often to retry. At least once: the receiver deduplicates on the `reference`.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time

import httpx

from rails.sandbox.faults import CALLBACK, FaultPlan
from rails.sandbox.notices import Dispute, Notice
from rails.sandbox.truth import Truth

RETRY_SECONDS_FIRST = 0.5
RETRY_SECONDS_MAX = 30.0


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Return the `Rail-Signature` header: `t=…,v1=hex(HMAC-SHA256(secret, "{t}." + body))`."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class CallbackCourier:
    """Delivers what the rails tell to one URL. Without a URL they wait on disk for a start that has one."""

    def __init__(self, truth: Truth, *, url: str | None, secret: str, faults: FaultPlan) -> None:
        self._truth = truth
        self._faults = faults
        self._url = url
        self._secret = secret
        self._deliveries: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    def start(self) -> None:
        """Take up what an earlier process left undelivered, and everything new from now on."""
        if self._url is None:
            return
        self._client = httpx.AsyncClient(timeout=10.0, trust_env=False)
        for told in self._truth.subscribe(self._schedule):
            self._schedule(told)

    async def stop(self) -> None:
        """Stop delivering; what is undelivered stays on disk."""
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _schedule(self, told: Dispute | Notice) -> None:
        delivery = asyncio.get_running_loop().create_task(self._deliver(told))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def _deliver(self, told: Dispute | Notice) -> None:
        await asyncio.sleep(max(0.0, told.due_at - self._truth.now()))
        pause = RETRY_SECONDS_FIRST
        while not await self._tell(told):
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)
        self._truth.mark_delivered(told)

    async def _tell(self, told: Dispute | Notice) -> bool:
        """Tell it once, as well as the faults in force allow."""
        fault = self._faults.draw(told.rail, CALLBACK)
        kind = fault.kind if fault is not None else None
        if kind == "callback_lost":
            return False
        if fault is not None and kind == "callback_late":
            await asyncio.sleep(fault.delay_ms / 1000)
        if kind == "callback_twice":
            await self._post(told)
        confirmed = await self._post(told)
        return confirmed and kind != "callback_unconfirmed"

    async def _post(self, told: Dispute | Notice) -> bool:
        assert self._client is not None and self._url is not None
        body = json.dumps(told.body()).encode()
        headers = {
            "Content-Type": "application/json",
            "Rail-Signature": sign(self._secret, int(time.time()), body),
        }
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._client.post(self._url, content=body, headers=headers)
            return answer.is_success
        return False
