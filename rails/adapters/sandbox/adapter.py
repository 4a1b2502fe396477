"""The adapter of one sandbox rail over HTTP/1.1.

Decides how an order travels and how its answer, or the lack of one, becomes a RailAnswer. It knows
no test token: whatever happens, happens on the wire.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

from domain.inbound import Callback, InboundNotice
from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailProfile
from rails.adapters.sandbox.callbacks import read_notices
from rails.adapters.sandbox.profiles import SANDBOX_RAILS
from rails.adapters.sandbox.wire import (
    GarbledAnswerError,
    decode_answer,
    encode_order,
    says_closed,
    says_not_attempted,
)
from rails.callback_signatures import check_timed_signature
from rails.exchange import Reply, exchange
from rails.outcomes import classify_decline, classify_status

UtcClock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


class SandboxRailAdapter:
    """One rail of the sandbox process; implements `rails.adapter.RailAdapter`."""

    def __init__(
        self,
        profile: RailProfile,
        client: httpx.AsyncClient,
        *,
        now: UtcClock = utc_now,
        callback_secret: bytes = b"",
    ) -> None:
        self._callback_secret = callback_secret
        self._profile = profile
        self._client = client
        self._now = now
        self._order_urls = {flow: client.base_url.join(f"/rails/{profile.name}/{flow.value}") for flow in profile.flows}

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    def read_callback(self, callback: Callback) -> Sequence[InboundNotice]:
        """Return the notices of a callback of any sandbox rail; see `rails.adapter.CallbackReader.read_callback`."""
        header = callback.headers.get("rail-signature", "")
        check_timed_signature(header, callback.body, secrets=(self._callback_secret,), now=callback.received_at)
        return read_notices(callback.body, SANDBOX_RAILS)

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
        reply = await exchange(
            self._client,
            "POST",
            url,
            deadline_seconds=request.deadline_seconds,
            headers={"Content-Type": "application/json", "Idempotency-Key": request.rail_key},
            body=encode_order(request, card),
        )
        return reply if isinstance(reply, RailAnswer) else self._read_order_reply(reply, request)

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Ask what became of an order; see `rails.adapter.RailAdapter.inquire`."""
        horizon = self._profile.not_found_final_after_seconds
        closing = horizon is not None and (self._now() - sent_at).total_seconds() >= horizon
        path = f"/rails/{self._profile.name}/operations/{quote(rail_key, safe='')}"
        url = path + "?close=true" if closing else path
        reply = await exchange(self._client, "GET", url, deadline_seconds=deadline_seconds)
        if isinstance(reply, RailAnswer):
            # A question that failed says nothing about the order, whatever the failure.
            return RailAnswer(
                outcome=Outcome.UNKNOWN, latency_ms=reply.latency_ms, detail=f"inquiry failed: {reply.detail}"
            )
        if reply.status == 404:
            if closing and says_closed(reply.body):
                return reply.silence(Outcome.NOT_ATTEMPTED, "the rail guarantees that it never happened")
            return reply.silence(Outcome.UNKNOWN, "not known to the rail (yet)")
        if reply.status != 200:
            return reply.silence(Outcome.UNKNOWN, f"inquiry answered {reply.status}")
        return self._read_answer(reply, rail_key)

    def _read_order_reply(self, reply: Reply, request: RailRequest) -> RailAnswer:
        if reply.status == 200:
            return self._read_answer(
                reply, request.rail_key, amount_minor=request.amount_minor, currency=request.currency
            )
        outcome = classify_status(
            reply.status, says_not_attempted=says_not_attempted(reply.body), guarantees_not_attempted=True
        )
        if outcome is Outcome.DECLINED:
            return RailAnswer(
                outcome=outcome,
                decline_code="order_malformed",
                decline_class=DeclineClass.HARD,
                latency_ms=reply.latency_ms,
                detail=f"the rail answered {reply.status}",
            )
        return reply.silence(outcome, f"the rail answered {reply.status}")

    def _read_answer(
        self, reply: Reply, rail_key: str, *, amount_minor: int | None = None, currency: str | None = None
    ) -> RailAnswer:
        try:
            answer = decode_answer(reply.body, rail_key=rail_key, amount_minor=amount_minor, currency=currency)
        except GarbledAnswerError as error:
            return reply.silence(Outcome.UNKNOWN, str(error))
        decline_class = None
        if answer.decline_code is not None:
            decline_class = classify_decline(self._profile.name, answer.decline_code, answer.advice)
        return RailAnswer(
            outcome=Outcome(answer.outcome),
            decline_code=answer.decline_code,
            decline_class=decline_class,
            rail_reference=answer.reference,
            final_funds=answer.final_funds,
            latency_ms=reply.latency_ms,
        )
