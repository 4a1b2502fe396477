"""The adapter of SEPA instant credit transfers: a pacs.008 out, a pacs.002 back within seconds, pacs.028 to ask.

Decides by the scheme's clock (semantics rule 29): silence holds the money, and ten seconds after its time stamp an
order is asked about before anything else. It is never sent a second time.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx

from domain.inbound import InboundNotice
from domain.rail import Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailAdapter, RailProfile
from rails.adapters.sepa.notices import collect_by_reference
from rails.adapters.sepa.parties import Payee, debtor_of, payee_of
from rails.adapters.sepa.profiles import EXECUTION_SECONDS, instant_profile
from rails.bank_channel import BankChannel, BankMessage, credentials, open_channel
from rails.bank_files import BankFiles, Reports, malformed
from rails.configuration import RailConfiguration, required
from rails.exchange import Reply, exchange, open_client
from rails.iso20022.documents import InvalidDocumentError, Schemas, schemas_of
from rails.iso20022.orders import CreditTransfer, Party, render_pacs_008, render_pacs_028
from rails.iso20022.references import reference_of, uetr_of
from rails.iso20022.reports import PACS_002, PACS_004, read_reports
from rails.iso20022.standing import INSTANT, Standing, about, standing
from rails.outcomes import classify_status

NAME = "sepa_instant"
CONTENT_TYPE = {"Content-Type": "application/xml"}
ORDERS_PATH, INQUIRIES_PATH = "/pacs.008", "/pacs.028"

UtcClock = Callable[[], datetime]


def build(configuration: RailConfiguration) -> Iterable[RailAdapter]:
    """Return the one adapter of a line in rails.toml.

    Raises:
        ValueError: the line lacks something, or something in it cannot be read. Not retryable.
    """
    name = configuration.get("name", NAME)
    debtor = debtor_of(name, configuration)
    if not debtor.bic:
        raise ValueError(f"the rail {name} needs `debtor_bic`: an instant transfer names both banks")
    yield SepaInstantAdapter(
        instant_profile(name, configuration),
        client=open_client(required(name, configuration, "url"), headers=credentials(name, configuration)),
        paths=(configuration.get("orders_path", ORDERS_PATH), configuration.get("inquiries_path", INQUIRIES_PATH)),
        mailbox=open_channel(name, configuration) if configuration.get("mailbox_path") else None,
        debtor=debtor,
        schemas=schemas_of(configuration),
    )


class SepaInstantAdapter:
    """One account at one participant of the clearing; implements `rails.adapter.RailAdapter`."""

    def __init__(
        self,
        profile: RailProfile,
        *,
        client: httpx.AsyncClient,
        paths: tuple[str, str],
        mailbox: BankChannel | None,
        debtor: Party,
        schemas: Schemas,
        now: UtcClock = lambda: datetime.now(UTC),
    ) -> None:
        self._profile = profile
        self._client = client
        self._orders_path, self._inquiries_path = paths
        self._mailbox = None if mailbox is None else BankFiles(mailbox, self._read_message)
        self._debtor = debtor
        self._schemas = schemas
        self._now = now

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._client.aclose()
        if self._mailbox is not None:
            await self._mailbox.aclose()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the clearing; see `rails.adapter.RailAdapter.execute`.

        The scheme's time stamp is the attempt's own, written down before the call: whatever is sent late
        is rejected by the scheme.
        """
        if request.flow not in self._profile.flows:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        if request.resumed:
            return await self.inquire(
                flow=request.flow,
                rail_key=request.rail_key,
                sent_at=request.requested_at or self._now(),
                deadline_seconds=request.deadline_seconds,
            )
        payee = payee_of(request)
        if isinstance(payee, RailAnswer):
            return payee
        if payee.bic is None:
            return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, detail="the bank of this IBAN has no known BIC")
        try:
            message = render_pacs_008(self._order(request, payee), self._schemas)
        except InvalidDocumentError as error:
            return malformed(str(error))
        reply = await exchange(
            self._client,
            "POST",
            self._orders_path,
            deadline_seconds=request.deadline_seconds,
            headers=CONTENT_TYPE,
            body=message,
        )
        if isinstance(reply, RailAnswer):
            return reply
        if reply.status == 200:
            return self._read(reply, request.rail_key, request)
        outcome = classify_status(reply.status, says_not_attempted=False, guarantees_not_attempted=False)
        if outcome is Outcome.DECLINED:
            return replace(malformed(f"the clearing answered {reply.status}"), latency_ms=reply.latency_ms)
        return reply.silence(outcome, f"the clearing answered {reply.status}")

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Ask what became of an order; see `rails.adapter.RailAdapter.inquire`.

        Within the scheme's ten seconds nothing is asked: the answer may still be on its way.
        """
        del flow
        due_at = sent_at + timedelta(seconds=EXECUTION_SECONDS)
        if self._now() < due_at:
            return RailAnswer(outcome=Outcome.UNKNOWN, detail=f"within the scheme's time until {due_at.isoformat()}")
        return await self._ask(rail_key, sent_at=sent_at, deadline_seconds=deadline_seconds)

    async def collect_notices(self) -> Sequence[InboundNotice]:
        """Return late answers and returns (pacs.004) where the participant has a mailbox for them.

        See `rails.adapter.NoticeCollector.collect_notices`.

        Raises:
            ConnectionError: the mailbox could not be read. Retryable.
        """
        if self._mailbox is None:
            return ()
        return await collect_by_reference(
            self._profile.name,
            self._mailbox,
            lambda reports, reference: standing(about(reports, reference), INSTANT),
        )

    def _read_message(self, message: BankMessage) -> Reports:
        return read_reports(message.body, self._schemas) if message.kind in (PACS_002, PACS_004) else ()

    async def _ask(self, rail_key: str, *, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        message = render_pacs_028(
            reference=reference_of(rail_key),
            uetr=uetr_of(rail_key),
            request_id=uuid.uuid4().hex,
            created_at=self._now(),
            schemas=self._schemas,
        )
        reply = await exchange(
            self._client,
            "POST",
            self._inquiries_path,
            deadline_seconds=deadline_seconds,
            headers=CONTENT_TYPE,
            body=message,
        )
        if isinstance(reply, RailAnswer):
            # A question that failed says nothing about the order, whatever the failure.
            return RailAnswer(outcome=Outcome.UNKNOWN, latency_ms=reply.latency_ms, detail="the inquiry failed")
        if reply.status == 404:
            horizon = self._profile.not_found_final_after_seconds
            assert horizon is not None
            if (self._now() - sent_at).total_seconds() >= horizon:
                return reply.silence(Outcome.NOT_ATTEMPTED, "not known to the clearing, and too late to become so")
            return reply.silence(Outcome.UNKNOWN, "not known to the clearing (yet)")
        if reply.status != 200:
            return reply.silence(Outcome.UNKNOWN, f"the inquiry was answered {reply.status}")
        return self._read(reply, rail_key)

    def _read(self, reply: Reply, rail_key: str, ordered: RailRequest | None = None) -> RailAnswer:
        reference = reference_of(rail_key)
        amount_minor, currency = (ordered.amount_minor, ordered.currency) if ordered is not None else (None, None)
        try:
            reports = read_reports(reply.body, self._schemas)
            known = standing(about(reports, reference), INSTANT, amount_minor=amount_minor, currency=currency)
        except InvalidDocumentError as error:
            return reply.silence(Outcome.UNKNOWN, f"the answer cannot be read: {error}")
        if known is None:
            return reply.silence(Outcome.UNKNOWN, "the answer is about another order")
        return _answer(known, reference, reply.latency_ms)

    def _order(self, request: RailRequest, payee: Payee) -> CreditTransfer:
        now = self._now()
        return CreditTransfer(
            reference=reference_of(request.rail_key),
            uetr=uetr_of(request.rail_key),
            amount_minor=request.amount_minor,
            currency=request.currency,
            created_at=now,
            accepted_at=request.requested_at or now,
            execution_date=now.date(),
            debtor=self._debtor,
            creditor=Party(name=payee.name, iban=payee.iban, bic=payee.bic),
        )


def _answer(known: Standing, reference: str, latency_ms: float) -> RailAnswer:
    return RailAnswer(
        outcome=known.outcome,
        decline_code=known.code if known.outcome is Outcome.DECLINED else None,
        decline_class=known.decline_class,
        rail_reference=reference,
        final_funds=known.outcome is Outcome.APPROVED,
        latency_ms=latency_ms,
        detail=known.detail,
    )
