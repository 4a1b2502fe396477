"""Orders that travel as files: handed in with an acknowledgement, answered by messages in the bank's mailbox.

Decides what the bank's silence proves. How a file is written and what a message says is the adapters'.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from domain.inbound import InboundKind, InboundNotice
from domain.rail import DEFINITE_OUTCOMES, DeclineClass, Outcome, RailAnswer, RailPace
from rails.bank_channel import BankChannel, BankMessage, Messages, acknowledges
from rails.configuration import RailConfiguration
from rails.exchange import Reply
from rails.iso20022.documents import InvalidDocumentError
from rails.iso20022.reports import OrderReport
from rails.iso20022.standing import Standing
from rails.outcomes import classify_status

Reports = tuple[OrderReport, ...]
SECONDS_LEFT_MIN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOrder:
    """One order in a file of its own. `reference` is the bank's name of the order, `file_id` of the file."""

    reference: str
    file_id: str
    content_type: str
    body: bytes
    stands: Callable[[Reports], Standing | None]


class BankFiles:
    """One account at one bank that checks file ids for duplicates: a file may be sent again under its own id."""

    def __init__(self, channel: BankChannel, read: Callable[[BankMessage], Reports]) -> None:
        """`read` returns what one message says, and raises InvalidDocumentError where that is nothing."""
        self._channel = channel
        self._read = read
        self._read_before: dict[BankMessage, Reports] = {}

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._channel.aclose()

    async def give(self, order: FileOrder, *, resumed: bool, deadline_seconds: float) -> RailAnswer:
        """Hand an order in and return what the bank's messages say of it by then. Idempotent on the file's id.

        `resumed`: it may have been sent before, so the bank is asked before it is told again, though it would
        refuse the duplicate.
        """
        started = time.perf_counter()
        if resumed:
            found = await self.reports(deadline_seconds / 2)
            known = found if isinstance(found, Standing) else order.stands(found)
            if known is not None:
                return answer(known, order.reference, started)
        left = deadline_seconds - (time.perf_counter() - started)
        reply = await self._channel.submit(order.body, order.content_type, deadline_seconds=left)
        if isinstance(reply, RailAnswer):
            return reply
        if not acknowledges(reply, order.file_id):
            return _unacknowledged(reply)
        left = max(SECONDS_LEFT_MIN, deadline_seconds - (time.perf_counter() - started))
        found = await self.reports(left)
        known = None if isinstance(found, Standing) else order.stands(found)
        return answer(known or _without_a_report(reply), order.reference, started)

    async def ask(
        self, reference: str, stands: Callable[[Reports], Standing | None], *, deadline_seconds: float
    ) -> RailAnswer:
        """Return where an order stands by the bank's messages.

        The bank promises nothing about an order it has no message of: that is UNKNOWN for ever.
        """
        started = time.perf_counter()
        found = await self.reports(deadline_seconds)
        known = found if isinstance(found, Standing) else stands(found)
        if known is None:
            known = Standing(outcome=Outcome.UNKNOWN, detail="the bank has no message about it (yet)")
        return answer(known, reference, started)

    async def reports(self, deadline_seconds: float) -> Reports | Standing:
        """Return what every message in the mailbox says of orders; UNKNOWN if it was not read.

        A message is read once and remembered while the bank holds it; one that cannot be read says nothing.
        """
        messages = await self._channel.messages(deadline_seconds=deadline_seconds)
        if isinstance(messages, RailAnswer):
            return Standing(outcome=messages.outcome, detail=messages.detail)
        self._read_before = self._understood(messages)
        return tuple(report for reports in self._read_before.values() for report in reports)

    def _understood(self, messages: Messages) -> dict[BankMessage, Reports]:
        understood: dict[BankMessage, Reports] = {}
        for message in messages:
            reports = self._read_before.get(message)
            if reports is None:
                try:
                    reports = self._read(message)
                except InvalidDocumentError:
                    reports = ()
            understood[message] = reports
        return understood


def answer(known: Standing, reference: str, started: float) -> RailAnswer:
    """Return where an order stands as a rail's answer; `started` is the call's beginning on the performance clock."""
    return RailAnswer(
        outcome=known.outcome,
        decline_code=known.code if known.outcome is Outcome.DECLINED else None,
        decline_class=known.decline_class,
        rail_reference=reference,
        latency_ms=(time.perf_counter() - started) * 1000,
        detail=known.detail,
    )


def notices_of(rail: str, rail_key: str, reference: str, known: Standing) -> tuple[InboundNotice, ...]:
    """Return what the bank's messages prove of one order: how it went, and that it came back after that.

    The same standing gives the same notices, whichever messages told it and however often they are read.
    """
    if known.outcome not in DEFINITE_OUTCOMES:
        return ()
    told = replace(answer(known, reference, time.perf_counter()), latency_ms=0.0)
    outcome = InboundNotice(
        rail=rail,
        event_id=f"outcome:{reference}:{known.outcome.value}",
        kind=InboundKind.OUTCOME,
        rail_key=rail_key,
        answer=told,
    )
    if known.returned is None:
        return (outcome,)
    event_id = f"returned:{reference}"
    returned = InboundNotice(
        rail=rail,
        event_id=event_id,
        kind=InboundKind.PAYOUT_RETURNED,
        rail_key=rail_key,
        reference=event_id,
        amount_minor=known.returned.amount_minor,
        currency=known.returned.currency,
        reason=known.returned.reason,
    )
    return (outcome, returned)


def pace_of(
    configuration: RailConfiguration, *, deadline_seconds: float, ask_after_seconds: tuple[float, ...]
) -> RailPace:
    """Return how slow a bank is: `deadline_seconds` and `ask_after_seconds` (a list with commas) of its line.

    Raises:
        ValueError: a figure cannot be read. Not retryable.
    """
    delays = configuration.get("ask_after_seconds")
    return RailPace(
        deadline_seconds=float(configuration.get("deadline_seconds", str(deadline_seconds))),
        inquiry_delays_seconds=tuple(map(float, delays.split(","))) if delays else ask_after_seconds,
    )


def malformed(detail: str) -> RailAnswer:
    """Return the answer to an order that cannot be written: nothing was sent, and no rail will take it so."""
    return RailAnswer(
        outcome=Outcome.DECLINED, decline_code="order_malformed", decline_class=DeclineClass.HARD, detail=detail
    )


def _unacknowledged(reply: Reply) -> RailAnswer:
    """Read a reply that is no acknowledgement of this file: only a refusal at the door is a definite no."""
    if 200 <= reply.status < 300 or reply.status == 422:
        return reply.silence(Outcome.UNKNOWN, f"{reply.status} without an acknowledgement of this file")
    outcome = classify_status(reply.status, says_not_attempted=False, guarantees_not_attempted=False)
    if outcome is Outcome.DECLINED:
        return replace(malformed(f"the bank answered {reply.status}"), latency_ms=reply.latency_ms)
    return reply.silence(outcome, f"the bank answered {reply.status}")


def _without_a_report(reply: Reply) -> Standing:
    """A file that was taken is under way. One refused without a report may be a duplicate of one that wasn't."""
    if reply.status == 422:
        return Standing(outcome=Outcome.UNKNOWN, detail="refused without a status report that says why")
    return Standing(outcome=Outcome.PENDING, detail="the bank has the file")
