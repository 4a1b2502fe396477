"""The adapter of SEPA credit transfers: one pain.001 file an order, answered by messages in the bank's mailbox.

Decides how an order becomes a file and which reports count. The bank checks message ids for duplicates, so a
file may be sent again under its own id and is never carried out twice.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from domain.inbound import InboundNotice
from domain.rail import Flow, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailAdapter, RailProfile
from rails.adapters.sepa.notices import collect_by_reference
from rails.adapters.sepa.parties import Payee, debtor_of, payee_of
from rails.adapters.sepa.profiles import credit_transfer_profile
from rails.bank_channel import BankChannel, BankMessage, open_channel
from rails.bank_files import BankFiles, FileOrder, Reports, malformed
from rails.configuration import RailConfiguration
from rails.iso20022.documents import InvalidDocumentError, Schemas, schemas_of
from rails.iso20022.orders import CreditTransfer, Party, render_pain_001
from rails.iso20022.references import reference_of, uetr_of
from rails.iso20022.reports import REPORTS, Word, read_reports
from rails.iso20022.standing import CREDIT_TRANSFER, Standing, about, standing

NAME = "sepa_credit"

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
        self._files = BankFiles(channel, self._read)
        self._debtor = debtor
        self._schemas = schemas
        self._zone = zone
        self._now = now

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._files.aclose()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the bank; see `rails.adapter.RailAdapter.execute`."""
        if request.flow not in self._profile.flows:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        payee = payee_of(request)
        if isinstance(payee, RailAnswer):
            return payee
        reference = reference_of(request.rail_key)
        try:
            file = render_pain_001(self._order(request, payee), self._schemas)
        except InvalidDocumentError as error:
            return malformed(str(error))
        order = FileOrder(
            reference=reference,
            file_id=reference,
            content_type="application/xml",
            body=file,
            stands=lambda reports: _stands(reports, reference, request.amount_minor, request.currency),
        )
        return await self._files.give(order, resumed=request.resumed, deadline_seconds=request.deadline_seconds)

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Ask what became of an order; see `rails.adapter.RailAdapter.inquire`."""
        del flow, sent_at  # the mailbox has every order, and time alone proves nothing
        reference = reference_of(rail_key)
        return await self._files.ask(
            reference, lambda reports: _stands(reports, reference), deadline_seconds=deadline_seconds
        )

    async def collect_notices(self) -> Sequence[InboundNotice]:
        """Return what the mailbox proves of our orders; see `rails.adapter.NoticeCollector.collect_notices`.

        Raises:
            ConnectionError: the mailbox could not be read. Retryable.
        """
        return await collect_by_reference(
            self._profile.name, self._files, lambda reports, reference: _stands(reports, reference)
        )

    async def reports(self, deadline_seconds: float) -> Reports | Standing:
        """Return what every message in the mailbox says of orders of this account; UNKNOWN if it was not read."""
        return await self._files.reports(deadline_seconds)

    def _read(self, message: BankMessage) -> Reports:
        """Return what one message says of our orders: bookings of other accounts are not ours."""
        if message.kind not in REPORTS:
            return ()
        return tuple(
            report
            for report in read_reports(message.body, self._schemas)
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


def _stands(
    reports: Reports, reference: str, amount_minor: int | None = None, currency: str | None = None
) -> Standing | None:
    return standing(about(reports, reference), CREDIT_TRANSFER, amount_minor=amount_minor, currency=currency)
