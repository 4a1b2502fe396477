"""Telling the merchant's side about chargebacks, signed, until it acknowledges.

Decides how often to retry. At least once: the receiver deduplicates on the dispute's `id`.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time

import httpx

from rails.sandbox.truth import Dispute, Truth

RETRY_SECONDS_FIRST = 0.5
RETRY_SECONDS_MAX = 30.0


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Return the `Rail-Signature` header: `t=…,v1=hex(HMAC-SHA256(secret, "{t}." + body))`."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class CallbackCourier:
    """Delivers disputes to one URL. Without a URL they wait on disk for a start that has one."""

    def __init__(self, truth: Truth, *, url: str | None, secret: str) -> None:
        self._truth = truth
        self._url = url
        self._secret = secret
        self._deliveries: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    def start(self) -> None:
        """Take up what an earlier process left undelivered, and everything new from now on."""
        if self._url is None:
            return
        self._client = httpx.AsyncClient(timeout=10.0, trust_env=False)
        for dispute in self._truth.subscribe(self._schedule):
            self._schedule(dispute)

    async def stop(self) -> None:
        """Stop delivering; what is undelivered stays on disk."""
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _schedule(self, dispute: Dispute) -> None:
        delivery = asyncio.get_running_loop().create_task(self._deliver(dispute))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def _deliver(self, dispute: Dispute) -> None:
        await asyncio.sleep(max(0.0, dispute.due_at - self._truth.now()))
        pause = RETRY_SECONDS_FIRST
        while not await self._post(dispute):
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)
        self._truth.mark_delivered(dispute)

    async def _post(self, dispute: Dispute) -> bool:
        assert self._client is not None and self._url is not None
        body = json.dumps(
            {
                "type": "dispute.created",
                "id": dispute.id,
                "rail": dispute.rail,
                "rail_key": dispute.rail_key,
                "reference": dispute.reference,
                "amount": dispute.amount,
                "currency": dispute.currency,
                "reason": dispute.reason,
            }
        ).encode()
        headers = {
            "Content-Type": "application/json",
            "Rail-Signature": sign(self._secret, int(time.time()), body),
        }
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._client.post(self._url, content=body, headers=headers)
            return answer.is_success
        return False
