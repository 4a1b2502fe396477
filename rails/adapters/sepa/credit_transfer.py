"""The adapter of SEPA credit transfers: one pain.001 file an order, answered by messages in the bank's mailbox.

Decides what a silence of the bank proves, and when its mailbox is asked. The bank checks message ids for
duplicates, so a file may be sent again under its own id and is never carried out twice.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailAdapter, RailProfile
from rails.adapters.sepa.parties import Payee, debtor_of, payee_of
from rails.adapters.sepa.profiles import credit_transfer_profile
from rails.bank_channel import BankChannel, Messages, acknowledges, open_channel
from rails.configuration import RailConfiguration
from rails.exchange import Reply
from rails.iso20022.documents import InvalidDocumentError, Schemas, schemas_of
from rails.iso20022.orders import CreditTransfer, Party, render_pain_001
from rails.iso20022.references import reference_of, uetr_of
from rails.iso20022.reports import REPORTS, OrderReport, Word, read_reports
from rails.iso20022.standing import CREDIT_TRANSFER, Standing, standing
from rails.outcomes import classify_status

NAME = "sepa_credit"
CONTENT_TYPE = "application/xml"

UtcClock = Callable[[], datetime]


def build(configuration: RailConfiguration) -> Iterable[RailAdapter]:
    """Return the one adapter of a line in rails.toml.

    Raises:
        ValueError: the line lacks something, or something in it cannot be read. Not retryable.
    """
    name = configuration.get("name", NAME)
    yield SepaCreditTransferAdapter(
        credit_transfer_profile(name, configuration),
        channel=open_channel(name, configuration),
        debtor=debtor_of(name, configuration),
        schemas=schemas_of(configuration),
        zone=ZoneInfo(configuration.get("zone", "Europe/Berlin")),
    )


class SepaCreditTransferAdapter:
    """One account at one bank; implements `rails.adapter.RailAdapter`."""

    def __init__(
        self,
        profile: RailProfile,
        *,
        channel: BankChannel,
        debtor: Party,
        schemas: Schemas,
        zone: ZoneInfo,
        now: UtcClock = lambda: datetime.now(UTC),
    ) -> None:
        self._profile = profile
        self._channel = channel
        self._debtor = debtor
        self._schemas = schemas
        self._zone = zone
        self._now = now
        self._read_before: dict[bytes, tuple[OrderReport, ...]] = {}

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._channel.aclose()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the bank; see `rails.adapter.RailAdapter.execute`."""
        if request.flow not in self._profile.flows:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        payee = payee_of(request)
        if isinstance(payee, RailAnswer):
            return payee
        started = time.perf_counter()
        if request.resumed:
            # A rail that can be asked is asked before it is told again, though it would refuse the duplicate.
            found = await self.reports(request.deadline_seconds / 2)
            known = found if isinstance(found, Standing) else self._stands(found, request.rail_key, request)
            if known is not None:
                return self._answer(known, request.rail_key, started)
        try:
            file = render_pain_001(self._order(request, payee), self._schemas)
        except InvalidDocumentError as error:
            return _malformed(str(error))
        left = request.deadline_seconds - (time.perf_counter() - started)
        reply = await self._channel.submit(file, CONTENT_TYPE, deadline_seconds=left)
        if isinstance(reply, RailAnswer):
            return reply
        if not acknowledges(reply, reference_of(request.rail_key)):
            return _unacknowledged(reply)
        left = max(0.05, request.deadline_seconds - (time.perf_counter() - started))
        found = await self.reports(left)
        known = None if isinstance(found, Standing) else self._stands(found, request.rail_key, request)
        return self._answer(known or _without_a_report(reply), request.rail_key, started)

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Ask what became of an order; see `rails.adapter.RailAdapter.inquire`.

        The bank promises nothing about an order it has no message of: that is UNKNOWN for ever.
        """
        del flow, sent_at
        started = time.perf_counter()
        found = await self.reports(deadline_seconds)
        known = found if isinstance(found, Standing) else self._stands(found, rail_key, None)
        if known is None:
            known = Standing(outcome=Outcome.UNKNOWN, detail="the bank has no message about it (yet)")
        return self._answer(known, rail_key, started)

    async def reports(self, deadline_seconds: float) -> tuple[OrderReport, ...] | Standing:
        """Return what every message in the mailbox says of orders of this account; UNKNOWN if it was not read."""
        messages = await self._channel.messages(deadline_seconds=deadline_seconds)
        if isinstance(messages, RailAnswer):
            return Standing(outcome=messages.outcome, detail=messages.detail)
        return self._understood(messages)

    def _stands(self, reports: tuple[OrderReport, ...], rail_key: str, ordered: RailRequest | None) -> Standing | None:
        return standing(
            reports,
            reference_of(rail_key),
            CREDIT_TRANSFER,
            amount_minor=ordered.amount_minor if ordered is not None else None,
            currency=ordered.currency if ordered is not None else None,
        )

    def _understood(self, messages: Messages) -> tuple[OrderReport, ...]:
        """Read each message once; one that cannot be read says nothing, and bookings of other accounts neither."""
        read: dict[bytes, tuple[OrderReport, ...]] = {}
        for message in messages:
            if message.kind not in REPORTS:
                continue
            reports = self._read_before.get(message.body)
            if reports is None:
                try:
                    reports = read_reports(message.body, self._schemas)
                except InvalidDocumentError:
                    reports = ()
            read[message.body] = reports
        self._read_before = read
        return tuple(
            report
            for reports in read.values()
            for report in reports
            if report.word is Word.STATUS or report.account in (self._debtor.iban, None)
        )

    def _order(self, request: RailRequest, payee: Payee) -> CreditTransfer:
        now = self._now()
        return CreditTransfer(
            reference=reference_of(request.rail_key),
            uetr=uetr_of(request.rail_key),
            amount_minor=request.amount_minor,
            currency=request.currency,
            created_at=now,
            # The bank moves it to its next banking day where it has to.
            execution_date=now.astimezone(self._zone).date(),
            debtor=self._debtor,
            creditor=Party(name=payee.name, iban=payee.iban),
        )

    def _answer(self, known: Standing, rail_key: str, started: float) -> RailAnswer:
        return RailAnswer(
            outcome=known.outcome,
            decline_code=known.code if known.outcome is Outcome.DECLINED else None,
            decline_class=known.decline_class,
            rail_reference=reference_of(rail_key),
            final_funds=False,
            latency_ms=(time.perf_counter() - started) * 1000,
            detail=known.detail,
        )


def _unacknowledged(reply: Reply) -> RailAnswer:
    """Read a reply that is no acknowledgement of this file: only a refusal at the door is a definite no."""
    if 200 <= reply.status < 300 or reply.status == 422:
        return reply.silence(Outcome.UNKNOWN, f"{reply.status} without an acknowledgement of this file")
    outcome = classify_status(reply.status, says_not_attempted=False, guarantees_not_attempted=False)
    if outcome is Outcome.DECLINED:
        return replace(_malformed(f"the bank answered {reply.status}"), latency_ms=reply.latency_ms)
    return reply.silence(outcome, f"the bank answered {reply.status}")


def _without_a_report(reply: Reply) -> Standing:
    """A file that was taken is under way. One refused without a report may be a duplicate of one that wasn't."""
    if reply.status == 422:
        return Standing(outcome=Outcome.UNKNOWN, detail="refused without a status report that says why")
    return Standing(outcome=Outcome.PENDING, detail="the bank has the file")


def _malformed(detail: str) -> RailAnswer:
    return RailAnswer(
        outcome=Outcome.DECLINED, decline_code="order_malformed", decline_class=DeclineClass.HARD, detail=detail
    )
