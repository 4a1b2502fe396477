"""The adapter of ACH credits: one NACHA file an order, answered by messages in the bank's mailbox.

Decides what counts as paid (the entry booked on its settlement date) and as money that came back (an R-code).
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from domain.inbound import InboundNotice
from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import AmountLimits, CardDetails, RailAdapter, RailPrice, RailProfile
from rails.adapters.ach.numbering import Numbering, NumbersExhaustedError
from rails.adapters.ach.wire import (
    ACKNOWLEDGEMENT,
    AMOUNT_MINOR_MAX,
    RETURN_FILE,
    Entry,
    Originator,
    Slot,
    UnfitEntryError,
    file_id_of,
    identification_of,
    read_acknowledgement,
    read_changes,
    read_returns,
    render_file,
)
from rails.bank_channel import BankChannel, BankMessage, open_channel
from rails.bank_files import BankFiles, FileOrder, Reports, notices_of, pace_of
from rails.banking_days import CutOff, is_banking_day
from rails.configuration import RailConfiguration, moves_real_money, required
from rails.iso20022.documents import Schemas, schemas_of
from rails.iso20022.references import latin
from rails.iso20022.reports import CAMT_054, OrderReport, Word, read_reports
from rails.iso20022.standing import REASONS, Reason, Standing, about, reason_table, standing
from rails.records import RailRecords

NAME = "ach"
CURRENCY = "USD"
CALENDAR = "FED"
DEADLINE_SECONDS, COLLECTING_SECONDS_MAX = 10.0, 60.0
ASKED_AFTER_SECONDS = (10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
STATUSES: Mapping[str, str] = {"ACCEPTED": "pending", "REJECTED": "rejected"}
_CODES = json.loads((Path(__file__).parent / "return_codes.json").read_text("utf-8"))
READINGS: Mapping[str, Reason] = {**REASONS, **reason_table(_CODES["returns"])}
"""R-codes, and the ISO 20022 reasons that acknowledgements use for what has no R-code."""
DATABASE_OUT_OF_REACH = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, OSError)

_log = logging.getLogger(__name__)

UtcClock = Callable[[], datetime]


def build(configuration: RailConfiguration) -> Iterable[RailAdapter]:
    """Return the one adapter of a line in rails.toml.

    Raises:
        ValueError: the line lacks something, or something in it cannot be read. Not retryable.
    """
    name = configuration.get("name", NAME)
    routing = required(name, configuration, "routing_number")
    originator = Originator(
        name=required(name, configuration, "company_name"),
        company_id=required(name, configuration, "company_id"),
        routing=routing,
        bank_name=configuration.get("bank_name", ""),
        bank_routing=configuration.get("bank_routing_number", routing),
    )
    yield AchRailAdapter(
        ach_profile(name, configuration),
        channel=open_channel(name, configuration),
        originator=originator,
        schemas=schemas_of(configuration),
    )


def ach_profile(name: str, configuration: RailConfiguration) -> RailProfile:
    """Return the profile of ACH credits through one account.

    Raises:
        ValueError: a figure in the line cannot be read. Not retryable.
    """
    return RailProfile(
        name=name,
        kind="bank",
        flows=frozenset({Flow.PAYOUT}),
        prices={CURRENCY: RailPrice(basis_points=0, fixed_minor=int(configuration.get("fee_minor", "25")))},
        settlement_seconds=86_400.0,
        final_funds=False,
        idempotent=True,
        not_found_final_after_seconds=None,
        approval_prior=0.97,
        payout_destinations=frozenset({"ach"}),
        sandbox=not moves_real_money(name, configuration),
        amount_limits={
            CURRENCY: AmountLimits(largest_minor=int(configuration.get("largest_minor", str(AMOUNT_MINOR_MAX))))
        },
        cut_off=CutOff(
            at=time.fromisoformat(configuration.get("cut_off", "17:00")),
            zone=configuration.get("zone", "America/New_York"),
            calendar=CALENDAR,
        ),
        pace=pace_of(configuration, deadline_seconds=DEADLINE_SECONDS, ask_after_seconds=ASKED_AFTER_SECONDS),
    )


class AchRailAdapter:
    """One company's account at one bank; implements `rails.adapter.RailAdapter`."""

    def __init__(
        self,
        profile: RailProfile,
        *,
        channel: BankChannel,
        originator: Originator,
        schemas: Schemas,
        now: UtcClock = lambda: datetime.now(UTC),
    ) -> None:
        assert profile.cut_off is not None
        self._profile = profile
        self._files = BankFiles(channel, self._read)
        self._originator = originator
        self._schemas = schemas
        self._zone = ZoneInfo(profile.cut_off.zone)
        self._cut_off = profile.cut_off
        self._now = now
        self._numbering: Numbering | None = None

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    def keep_records_in(self, records: RailRecords) -> None:
        """Take the place where numbers are written down; without one nothing is sent."""
        self._numbering = Numbering(
            records, rail=self._profile.name, odfi=self._originator.routing[:8], zone=self._zone
        )

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._files.aclose()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the bank; see `rails.adapter.RailAdapter.execute`."""
        if request.flow not in self._profile.flows:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        now = self._now()
        try:
            if self._numbering is None:
                return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, detail="there is no place for its numbers")
            slot = await self._numbering.slot(request.rail_key, now)
        except (*DATABASE_OUT_OF_REACH, NumbersExhaustedError) as error:
            # Nothing is sent that is not written down first. An earlier run may have been further.
            outcome = Outcome.UNKNOWN if request.resumed else Outcome.NOT_ATTEMPTED
            return RailAnswer(outcome=outcome, detail=f"no numbers for the file: {type(error).__name__}")
        identification = identification_of(request.rail_key)
        file_id = file_id_of(self._originator, slot)
        try:
            body = render_file(self._originator, slot, self._entry(request, identification, slot))
        except UnfitEntryError as error:
            return RailAnswer(
                outcome=Outcome.DECLINED,
                decline_code="entry_unfit",
                decline_class=DeclineClass.DATA_FIX,
                detail=str(error),
            )
        order = FileOrder(
            reference=identification,
            file_id=file_id,
            content_type="text/plain",
            body=body,
            stands=lambda reports: _stands(reports, identification, file_id, request.amount_minor),
        )
        return await self._files.give(order, resumed=request.resumed, deadline_seconds=request.deadline_seconds)

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Ask what became of an order; see `rails.adapter.RailAdapter.inquire`."""
        del flow, sent_at  # the mailbox has every order, and time alone proves nothing
        identification = identification_of(rail_key)
        try:
            slot = None if self._numbering is None else await self._numbering.find(rail_key)
        except DATABASE_OUT_OF_REACH as error:
            return RailAnswer(outcome=Outcome.UNKNOWN, detail=f"not asked: {type(error).__name__}")
        file_id = None if slot is None else file_id_of(self._originator, slot)
        return await self._files.ask(
            identification,
            lambda reports: _stands(reports, identification, file_id),
            deadline_seconds=deadline_seconds,
        )

    async def collect_notices(self) -> Sequence[InboundNotice]:
        """Return what the mailbox proves of our orders; see `rails.adapter.NoticeCollector.collect_notices`.

        Raises:
            ConnectionError: the mailbox could not be read. Retryable.
            psycopg.OperationalError: the numbers could not be read. Retryable.
        """
        reports = await self._files.reports(COLLECTING_SECONDS_MAX)
        if isinstance(reports, Standing):
            raise ConnectionError(reports.detail)
        by_identification: dict[str, list[OrderReport]] = defaultdict(list)
        for report in reports:
            by_identification[report.end_to_end_id or ""].append(report)
        notices: list[InboundNotice] = []
        for identification, told in by_identification.items():
            order = None if self._numbering is None else await self._numbering.order_of(identification)
            if order is None:
                continue
            rail_key, slot = order
            known = _stands(tuple(told), identification, file_id_of(self._originator, slot))
            if known is not None:
                notices += notices_of(self._profile.name, rail_key, identification, known)
        return tuple(notices)

    def _read(self, message: BankMessage) -> Reports:
        if message.kind == ACKNOWLEDGEMENT:
            return tuple(read_acknowledgement(message.body))
        if message.kind == RETURN_FILE:
            for identification, code, _corrected in read_changes(message.body):
                _log.warning(
                    "%s: the receiver's bank corrects details of %s (%s)", self.profile.name, identification, code
                )
            return tuple(read_returns(message.body))
        if message.kind == CAMT_054:
            return read_reports(message.body, self._schemas)
        return ()

    def _entry(self, request: RailRequest, identification: str, slot: Slot) -> Entry:
        destination = request.destination or {}
        return Entry(
            identification=identification,
            name=latin(destination.get("name", "")),
            routing=destination.get("routing_number", ""),
            account=destination.get("account_number", ""),
            account_type=destination.get("account_type", "checking"),
            entry_class="CCD" if destination.get("holder_type") == "company" else "PPD",
            amount_minor=request.amount_minor,
            effective_date=self._effective_date(slot.created_at),
        )

    def _effective_date(self, created_at: datetime) -> date:
        """Return the banking day after the one the bank takes the file on.

        Thursday 2 July 2026, 17:30 in New York, cut-off 17:00: taken on Friday 3 July (the Federal Reserve works
        when a holiday falls on a Saturday), effective on Monday 6 July.
        """
        local = created_at.astimezone(self._zone)
        taken = local.date() if local.time() < self._cut_off.at else local.date() + timedelta(days=1)
        taken = _banking_day_from(taken)
        return _banking_day_from(taken + timedelta(days=1))


def _banking_day_from(day: date) -> date:
    while not is_banking_day(day, CALENDAR):
        day += timedelta(days=1)
    return day


def _stands(
    reports: Reports, identification: str, file_id: str | None, amount_minor: int | None = None
) -> Standing | None:
    """Return where an entry stands.

    A bank answers a rejected entry twice, in its acknowledgement and as a return the next day: what came back
    without having been booked never left, which is a rejection and no return.
    """
    own = about(reports, identification, file_id)
    if not any(report.word is Word.BOOKED for report in own):
        own = tuple(
            replace(report, word=Word.STATUS, status="REJECTED") if report.word is Word.RETURNED else report
            for report in own
        )
    return standing(own, STATUSES, reasons=READINGS, amount_minor=amount_minor, currency=CURRENCY)
