"""Talking to rails: looks before it re-sends, detokenises at the last moment, turns failures into answers."""

import time
from dataclasses import replace

from psycopg_pool import AsyncConnectionPool
from temporalio import activity

from activities.heartbeats import beating
from activities.stops import are_payouts_stopped
from activities.stored_attempts import stored_answer
from domain.identifiers import Mode
from domain.payout_stop import PAYOUTS_STOPPED
from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from domain.sandbox import is_sandbox_token
from rails.adapter import CardDetails
from rails.health import RailHealth
from rails.outcomes import retry_after_seconds
from rails.registry import Rails
from vault.tokens import TokenNotFoundError, Vault
from workflows.ports import RailInquiry, RailPort


class RailActivities(RailPort):
    """The rail port over the adapters this worker was configured with."""

    def __init__(self, *, rails: Rails, health: RailHealth, vault: Vault, pool: AsyncConnectionPool) -> None:
        self._rails = rails
        self._health = health
        self._vault = vault
        self._pool = pool

    @activity.defn(name="attempt")
    async def attempt(self, request: RailRequest) -> RailAnswer:
        """Give one order to one rail. Idempotent on `rail_key`; see `RailPort.attempt`."""
        resumed = request.resumed or activity.info().attempt > 1
        if resumed:
            # An earlier run may have got this attempt's answer into the books: then that is the answer.
            answer = await stored_answer(self._pool, request.rail_key)
            if answer is not None:
                return answer
            request = replace(request, resumed=True)
        pace = self._rails.profile(request.rail).pace
        if request.flow is Flow.PAYOUT and await are_payouts_stopped(self._pool, request.currency):
            if resumed:
                # It may have been sent: it is asked about, and not sent again while payouts are stopped.
                return RailAnswer(outcome=Outcome.UNKNOWN, detail=PAYOUTS_STOPPED, pace=pace)
            return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, decline_code=PAYOUTS_STOPPED)
        if pace is not None and request.deadline_seconds < pace.deadline_seconds:
            # Not given: the workflow gives it again with this deadline, off the fast path.
            return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, pace=pace, detail="the rail needs longer than that")
        try:
            card = await self._card(request)
        except TokenNotFoundError:
            # A definite no: without a card no order can be written, now or in an earlier run.
            return RailAnswer(
                outcome=Outcome.DECLINED, decline_code="token_not_found", decline_class=DeclineClass.DATA_FIX
            )
        self._health.note_sent(request.rail)
        started = time.perf_counter()
        async with beating():
            answer = await self._rails.adapter(request.rail).execute(request, card)
        if not answer.latency_ms:
            answer = replace(answer, latency_ms=(time.perf_counter() - started) * 1000)
        self._health.record(request.rail, answer.outcome)
        if answer.decline_class is DeclineClass.TRY_LATER and answer.retry_after_seconds is None:
            wait = retry_after_seconds(request.rail, answer.decline_code or "")
            answer = replace(answer, retry_after_seconds=wait)
        if resumed and answer.outcome is Outcome.NOT_ATTEMPTED:
            # True of this sending only: an earlier run of the same attempt may have reached the rail.
            answer = replace(answer, outcome=Outcome.UNKNOWN)
        return answer if pace is None else replace(answer, pace=pace)

    @activity.defn(name="inquire")
    async def inquire(self, request: RailInquiry) -> RailAnswer:
        """Ask a rail what became of an order. See `RailPort.inquire`."""
        async with beating():
            return await self._rails.adapter(request.rail).inquire(
                flow=request.flow,
                rail_key=request.rail_key,
                sent_at=request.sent_at,
                deadline_seconds=request.deadline_seconds,
            )

    async def _card(self, request: RailRequest) -> CardDetails | None:
        token = request.source
        if request.flow is Flow.PAYOUT and request.destination is not None:
            token = request.destination.get("token")
        if token is None or is_sandbox_token(token):
            return None
        card = await self._vault.detokenize(
            token,
            merchant_id=request.merchant_id,
            mode=Mode(request.mode),
            purpose=f"{request.flow} {request.rail_key}",
            actor="worker",
        )
        return CardDetails(number=card.number, exp_month=card.exp_month, exp_year=card.exp_year)
