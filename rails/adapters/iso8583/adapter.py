"""A card acquirer behind ISO 8583 over TCP.

The protocol has no question "what became of my order?". So an authorization or sale that nobody answered is taken
back: its reversal is written down first and repeated until the acquirer confirms it, which makes a definite no of
it (decision 0030). Advices and voids tell what is decided; they are repeated until they are answered.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from domain.inbound import InboundKind, InboundNotice
from domain.rail import DEFINITE_OUTCOMES, DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailAdapter, RailProfile
from rails.adapters.iso8583.answers import answer_of_code, is_not_located, taken_back
from rails.adapters.iso8583.link import AcquirerLink, Answered
from rails.adapters.iso8583.message import Message
from rails.adapters.iso8583.orders import (
    NumbersExhaustedError,
    Order,
    network_message,
    new_order,
    order_message,
    order_of,
    reversal_message,
    trace_number,
)
from rails.adapters.iso8583.profile import acquirer_profile
from rails.adapters.iso8583.verdicts import Verdict, Verdicts
from rails.configuration import RailConfiguration, moves_real_money, required
from rails.records import RailRecords

REVERSAL_SECONDS = 5.0
LATE_KEPT_MAX = 10_000
"""Orders whose late answers are still recognized; older ones are found by their reversal."""


def build(configuration: RailConfiguration) -> Iterable[RailAdapter]:
    """Return the adapter of one line of rails.toml.

    Raises:
        ValueError: the line lacks something or holds something unfit. Not retryable.
    """
    name = configuration.get("name", "iso8583")
    host, _, port = required(name, configuration, "address").rpartition(":")
    terminal, merchant = required(name, configuration, "terminal"), required(name, configuration, "merchant")
    if not host or not port.isdigit():
        raise ValueError(f"the rail {name} has an `address` that is no host:port")
    if not (len(terminal) == 8 and terminal.isalnum() and 0 < len(merchant) <= 15 and merchant.isalnum()):
        raise ValueError(f"the rail {name} needs a `terminal` of 8 and a `merchant` of up to 15 letters and digits")
    seconds = configuration.get("not_located_final_after_seconds", "30")
    if not seconds.isdigit():
        raise ValueError(f"the rail {name} has a `not_located_final_after_seconds` that is no whole number")
    live = moves_real_money(name, configuration)
    profile = acquirer_profile(name, live=live, not_located_final_after_seconds=int(seconds))
    yield AcquirerAdapter(profile, host, int(port), terminal=terminal, merchant=merchant.ljust(15))


class AcquirerAdapter:
    """One acquirer; implements `rails.adapter.RailAdapter`."""

    def __init__(
        self,
        profile: RailProfile,
        host: str,
        port: int,
        *,
        terminal: str,
        merchant: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._profile = profile
        self._terminal, self._merchant = terminal, merchant
        self._now = now
        self._kept: RailRecords | None = None
        self._verdicts: Verdicts | None = None
        self._link = AcquirerLink(host, port, network_message=self._network_message, on_late=self._take_late)
        self._under_way: dict[str, Order] = {}
        self._late: set[asyncio.Task[None]] = set()

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    def keep_records_in(self, records: RailRecords) -> None:
        """Take the place where orders are written ahead; see `rails.adapter.RecordKeeper`."""
        self._kept = records
        self._verdicts = Verdicts(records, self._profile.name)

    async def aclose(self) -> None:
        """Close the connection. Idempotent."""
        await self._link.aclose()
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the acquirer; see `rails.adapter.RailAdapter.execute`."""
        if request.flow not in self._profile.flows:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        until = time.monotonic() + request.deadline_seconds
        known = await self._records.find(self._profile.name, request.rail_key)
        if known is not None:
            order = order_of(known)
            if (verdict := await self._verdict.find(request.rail_key)) is not None:
                return await self._by_verdict(order, verdict, until)
            if request.resumed and request.flow is Flow.AUTHORIZE:
                return await self._take_back(order, self._now(), until)
        elif request.flow is Flow.AUTHORIZE and card is None:
            return RailAnswer(
                outcome=Outcome.DECLINED, decline_code="card_required", decline_class=DeclineClass.DATA_FIX
            )
        else:
            written = await self._write_ahead(request)
            if isinstance(written, RailAnswer):
                return written
            order = written
        # Advices and voids are repeatable by their type; a purchase is sent as what it is, under its own number.
        repeat = known is not None and request.flow is not Flow.AUTHORIZE
        return await self._send(order, card, repeat=repeat, until=until)

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Make an order's outcome definite; see `rails.adapter.RailAdapter.inquire`.

        Not a question at the acquirer: an unanswered purchase is taken back, anything else is told again. Safe to
        repeat, for every message has its trace number for good.
        """
        until = time.monotonic() + deadline_seconds
        known = await self._records.find(self._profile.name, rail_key)
        if known is None:
            return RailAnswer(outcome=Outcome.UNKNOWN, detail="this order was not written ahead here")
        order = order_of(known)
        verdict = await self._verdict.find(rail_key)
        if verdict is not None and verdict.state != "reversing":
            return await self._by_verdict(order, verdict, until)
        if flow is Flow.AUTHORIZE:
            return await self._take_back(order, sent_at, until)
        return await self._send(order, None, repeat=True, until=until)

    async def collect_notices(self) -> Sequence[InboundNotice]:
        """Repeat every reversal that is not confirmed yet, and tell of those that now are.

        Store and forward, as the protocol wants it: also for orders whose own run asks only once a day by now.
        """
        told: list[InboundNotice] = []
        for rail_key in await self._verdict.open_reversals():
            order = order_of(await self._kept_order(rail_key))
            answer = await self.inquire(
                flow=Flow.AUTHORIZE,
                rail_key=rail_key,
                sent_at=order.sent_moment(self._now()),
                deadline_seconds=REVERSAL_SECONDS,
            )
            if answer.outcome in DEFINITE_OUTCOMES:
                told.append(
                    InboundNotice(
                        rail=self._profile.name,
                        event_id=f"{rail_key}/reversal",
                        kind=InboundKind.OUTCOME,
                        rail_key=rail_key,
                        answer=answer,
                    )
                )
        return told

    # --- sending ---

    async def _send(self, order: Order, card: CardDetails | None, *, repeat: bool, until: float) -> RailAnswer:
        message = order_message(order, terminal=self._terminal, merchant=self._merchant, card=card, repeat=repeat)
        self._under_way[order.stan] = order
        while len(self._under_way) > LATE_KEPT_MAX:
            del self._under_way[next(iter(self._under_way))]
        reply = await self._link.exchange(message, until=until)
        if isinstance(reply, RailAnswer):
            return reply
        if not _answers(reply.message, message):
            return _unknown(order, reply, "the answer is about another order")
        return await self._told(order, reply)

    async def _told(self, order: Order, reply: Answered) -> RailAnswer:
        """Keep what the acquirer answered, unless the order is already being taken back: then that stands."""
        answer = answer_of_code(reply.message.get(39), reference=order.rrn, latency_ms=reply.latency_ms)
        if answer.outcome is Outcome.UNKNOWN:
            return answer
        verdict = await self._verdict.answered(order, answer, auth_code=reply.message.get(38))
        if verdict.state != "answered":
            return _unknown(order, reply, "it was answered while it was being taken back")
        return answer

    def _take_late(self, message: Message) -> None:
        """Keep an answer that came after its question was given up: asking will find it before it takes back."""
        order = self._under_way.get(message.stan)
        sent = (
            None
            if order is None
            else order_message(order, terminal=self._terminal, merchant=self._merchant, card=None, repeat=False)
        )
        if order is None or sent is None or not _answers(message, sent):
            return
        task = asyncio.create_task(self._keep_late(order, message), name=f"late answer to {order.rail_key}")
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _keep_late(self, order: Order, message: Message) -> None:
        await self._told(order, Answered(message, 0.0))

    # --- taking back ---

    async def _take_back(self, order: Order, sent_at: datetime, until: float) -> RailAnswer:
        """Reverse an unanswered purchase and return its definite end once the acquirer confirms.

        From the moment the reversal is written down no answer to the purchase counts any more.
        """
        stan = await self._next_stan()
        verdict = await self._verdict.reversing(order, stan=stan, sent_at=f"{self._now():%m%d%H%M%S}")
        if verdict.state != "reversing":
            return await self._by_verdict(order, verdict, until)
        assert verdict.stan is not None and verdict.sent_at is not None
        message = reversal_message(
            order,
            stan=verdict.stan,
            sent_at=verdict.sent_at,
            terminal=self._terminal,
            merchant=self._merchant,
            repeat=verdict.stan != stan,
        )
        reply = await self._link.exchange(message, until=until)
        if isinstance(reply, RailAnswer):
            # A reversal that stayed here is none: the order is as unknown as before.
            return RailAnswer(outcome=Outcome.UNKNOWN, latency_ms=reply.latency_ms, detail=reply.detail)
        code = reply.message.get(39)
        if not _answers(reply.message, message):
            return _unknown(order, reply, "the answer is about another reversal")
        if code == "00":
            await self._verdict.end(order, "reversed")
            return taken_back(order.rrn, latency_ms=reply.latency_ms)
        horizon = self._profile.not_found_final_after_seconds
        assert horizon is not None
        if is_not_located(code) and (self._now() - sent_at).total_seconds() >= horizon:
            await self._verdict.end(order, "never")
            return _never(reply.latency_ms)
        return _unknown(order, reply, f"the reversal was answered {code}")

    async def _by_verdict(self, order: Order, verdict: Verdict, until: float) -> RailAnswer:
        if verdict.state == "answered":
            assert verdict.answer is not None
            return verdict.answer
        if verdict.state == "reversed":
            return taken_back(order.rrn)
        if verdict.state == "never":
            return _never(0.0)
        return await self._take_back(order, self._now(), until)

    # --- numbers and records ---

    @property
    def _records(self) -> RailRecords:
        assert self._kept is not None, "orders are given only by a process that keeps records"
        return self._kept

    @property
    def _verdict(self) -> Verdicts:
        assert self._verdicts is not None, "orders are given only by a process that keeps records"
        return self._verdicts

    async def _kept_order(self, rail_key: str) -> Mapping[str, Any]:
        kept = await self._records.find(self._profile.name, rail_key)
        assert kept is not None, "an order is written down before it is taken back"
        return kept

    async def _next_stan(self) -> str:
        number = await self._records.next_number(self._profile.name, f"stan/{self._now():%Y-%m-%d}")
        return trace_number(number)

    async def _network_message(self, code: str) -> Message:
        return network_message(code, stan=await self._next_stan(), now=self._now())

    async def _write_ahead(self, request: RailRequest) -> Order | RailAnswer:
        """Number an order and write it down before it is sent; a definite no where it can't be written."""
        original: Order | None = None
        auth_code = None
        if request.flow is not Flow.AUTHORIZE:
            assert request.original_rail_key is not None, "an order about an authorization names it"
            found = await self._records.find(self._profile.name, request.original_rail_key)
            verdict = await self._verdict.find(request.original_rail_key)
            if found is None or verdict is None or verdict.answer is None:
                return RailAnswer(
                    outcome=Outcome.DECLINED, decline_code="original_not_found", decline_class=DeclineClass.HARD
                )
            original, auth_code = order_of(found), verdict.auth_code
        try:
            order = new_order(request, await self._next_stan(), self._now(), original, auth_code)
        except NumbersExhaustedError as error:
            return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, detail=str(error))
        return order_of(await self._records.add(self._profile.name, request.rail_key, order.document()))


def _answers(answer: Message, question: Message) -> bool:
    """Tell whether an answer is to this very question: the trace number alone is not enough."""
    asked: Mapping[str, Any] = question.elements
    return all(answer.get(element) in (None, asked.get(str(element))) for element in (4, 41, 42, 49)) and all(
        answer.get(element) == asked.get(str(element)) for element in (11, 37)
    )


def _unknown(order: Order, reply: Answered, detail: str) -> RailAnswer:
    return RailAnswer(outcome=Outcome.UNKNOWN, rail_reference=order.rrn, latency_ms=reply.latency_ms, detail=detail)


def _never(latency_ms: float) -> RailAnswer:
    return RailAnswer(
        outcome=Outcome.NOT_ATTEMPTED, latency_ms=latency_ms, detail="it never came, and its reversal is on file"
    )
