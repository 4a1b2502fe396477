"""ACH credits under the rails contract and beyond it, against `mock-bank` and its own books."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.rail import DeclineClass, Flow, Outcome
from rails.adapters.ach.adapter import AchRailAdapter, build
from rails.adapters.ach.numbering import MODIFIERS, Numbering
from rails.adapters.ach.wire import identification_of
from rails.contract import CONTRACT, Effect, RailBench
from rails.faulty_path import Fault, FaultyPath
from rails.iso20022.reports import Word
from rails.iso20022.standing import Standing
from tests.rails.kept_records import KeptRecords
from tests.rails.mock_bank import MockBank

# A Thursday: 14:00 at the bank, 09:00 in New York. Entries are effective on Friday.
BANK_TIME = datetime(2026, 3, 5, 14, 0, tzinfo=UTC)
ELSEWHERE = {"routing_number": "091000019", "account_number": "4711123456"}
CLOSED = {"routing_number": "999999992", "account_number": "0000000003"}
LINE = {"routing_number": "999999992", "company_id": "0000000001", "company_name": "Ledgerline Inc"}


class Records(KeptRecords):
    """Records whose database may be away."""

    away = False

    async def find(self, rail: str, key: str) -> Any:
        if self.away:
            raise OSError("the database is away")
        return await super().find(rail, key)


class AchBench(RailBench):
    currency = "USD"

    def __init__(self, bank: MockBank, path: FaultyPath, records: Records) -> None:
        self.bank = bank
        self.path = path
        self.records = records
        (built,) = build(bank.line(url=path.url, **LINE))
        assert isinstance(built, AchRailAdapter)
        built._now = lambda: BANK_TIME
        built.keep_records_in(records)
        self.adapter: AchRailAdapter = built
        bank.account(format="nacha", currency="USD", behaviour="accept", parameters={})

    def first_flow(self) -> Flow:
        return Flow.PAYOUT

    def order_fields(self, fate: str) -> dict[str, object]:
        if fate == "lost":
            self.path.delay_next()
        if fate == "declined_soft":
            self.bank.account(behaviour="insufficient-funds", balance=0)
        account = CLOSED if fate == "declined_hard" else ELSEWHERE
        return {"destination": {"type": "ach", "name": "Zoë Smith", "account_type": "checking", **account}}

    def effect(self, rail_key: str) -> Effect | None:
        found = self.bank.orders(identification_of(rail_key))
        assert len(found) <= 1, f"{rail_key} is {len(found)} entries at the bank"
        return Effect(found[0]["status"], found[0]["amount"], len(found)) if found else None

    async def break_next_call(self, kind: Fault) -> None:
        await self.path.break_next(kind)

    async def heal(self) -> None:
        await self.path.heal()
        self.bank.account(behaviour="accept", balance=10_000_000_00)


@pytest.fixture(scope="module")
def shared_bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockBank]:
    started = MockBank(tmp_path_factory.mktemp("mock-bank"), clock=BANK_TIME.strftime("%Y-%m-%dT%H:%M"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def shared_records() -> Records:
    return Records()


@contextlib.asynccontextmanager
async def bench_at(bank: MockBank, records: Records) -> AsyncIterator[AchBench]:
    path = FaultyPath(bank.url)
    await path.start()
    built = AchBench(bank, path, records)
    yield built
    await built.heal()
    await built.adapter.aclose()
    await path.stop()


@pytest.fixture
async def bench(shared_bank: MockBank, shared_records: Records) -> AsyncIterator[AchBench]:
    async with bench_at(shared_bank, shared_records) as built:
        yield built


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
async def test_ach_keeps_contract(bench: AchBench, rule: Callable[[RailBench], Awaitable[None]]) -> None:
    await rule(bench)


async def test_entry_is_pending_until_it_is_booked_on_its_day(bench: AchBench) -> None:
    request = bench.order()
    answer = await bench.run(request)
    assert (answer.outcome, answer.rail_reference) == (Outcome.PENDING, identification_of(request.rail_key))
    (row,) = bench.bank.orders(identification_of(request.rail_key))
    assert (row["amount"], row["currency"], row["settlement_date"]) == (8420, "USD", "2026-03-06")
    assert (row["transaction_code"], row["entry_class"], row["creditor_name"]) == ("22", "PPD", "ZOE SMITH")


async def test_resumed_order_that_never_arrived_is_sent_in_its_own_file(bench: AchBench) -> None:
    request = bench.order()
    await bench.break_next_call("drop_before")
    assert (await bench.run(request)).outcome is Outcome.UNKNOWN
    assert bench.effect(request.rail_key) is None
    assert (await bench.run(replace(request, resumed=True))).outcome is Outcome.PENDING
    assert len(bench.bank.orders(identification_of(request.rail_key))) == 1


async def test_more_orders_than_a_minute_has_modifiers_each_have_a_file(bench: AchBench) -> None:
    """The bank refuses none as a duplicate, and no trace number repeats."""
    numbering = bench.adapter._numbering
    assert numbering is not None
    for number in range(len(MODIFIERS) - 2):
        await numbering.slot(f"op_elsewhere_{number}:1", BANK_TIME)
    requests = [bench.order() for _ in range(4)]
    answers = [await bench.run(request) for request in requests]
    assert {answer.outcome for answer in answers} == {Outcome.PENDING}
    rows = [bench.bank.orders(identification_of(request.rail_key)) for request in requests]
    assert {len(row) for row in rows} == {1}
    assert len({row[0]["instruction_id"] for row in rows}) == len(requests)
    assert len({row[0]["msg_id"] for row in rows}) == len(requests)


async def test_nothing_is_sent_that_was_not_written_down(bench: AchBench) -> None:
    request = bench.order()
    bench.records.away = True
    try:
        assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED
        assert (await bench.run(replace(request, resumed=True))).outcome is Outcome.UNKNOWN
        assert (await bench.ask(request)).outcome is Outcome.UNKNOWN
    finally:
        bench.records.away = False
    assert bench.effect(request.rail_key) is None


@pytest.mark.parametrize(
    "wrong", [{"account_number": "123456789012345678"}, {"routing_number": "091000018"}, {"account_number": ""}]
)
async def test_what_does_not_fit_an_entry_is_never_cut_off(bench: AchBench, wrong: dict[str, str]) -> None:
    request = bench.order(destination={"type": "ach", "name": "Ada", **ELSEWHERE, **wrong})
    answer = await bench.run(request)
    assert (answer.outcome, answer.decline_class) == (Outcome.DECLINED, DeclineClass.DATA_FIX)
    assert bench.effect(request.rail_key) is None


async def test_hour_that_the_end_of_summer_time_repeats_has_no_file_id_twice() -> None:
    numbering = Numbering(KeptRecords(), rail="ach", odfi="99999999", zone=ZoneInfo("America/New_York"))
    moments = [datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (5, 6)]
    slots = [await numbering.slot(f"po_{number}:1", moment) for number, moment in enumerate(moments)]
    assert len({(f"{slot.created_at:%y%m%d%H%M}", slot.modifier) for slot in slots}) == 2


def test_effective_dates_follow_the_federal_reserve() -> None:
    (adapter,) = build({"url": "http://127.0.0.1:1", **LINE})
    assert isinstance(adapter, AchRailAdapter)
    days = {
        datetime(2026, 3, 5, 14, 0, tzinfo=UTC): date(2026, 3, 6),
        datetime(2026, 7, 2, 21, 30, tzinfo=UTC): date(2026, 7, 6),
        datetime(2026, 11, 25, 23, 0, tzinfo=UTC): date(2026, 11, 30),
    }
    assert {moment: adapter._effective_date(moment) for moment in days} == days


class TestWithItsOwnBank:
    """What moves the bank's clock gets a bank of its own."""

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[AchBench]:
        bank = MockBank(tmp_path, clock=BANK_TIME.strftime("%Y-%m-%dT%H:%M"))
        async with bench_at(bank, Records()) as built:
            yield built
        bank.stop()

    async def test_booked_entry_is_approved_and_may_come_back_late(self, bench: AchBench) -> None:
        """Rejected on receipt, paid, and paid and returned by the receiver's bank two days later."""
        rejected, paid, returned = bench.order("declined_hard"), bench.order(), bench.order()
        assert (await bench.run(rejected)).decline_code == "account_closed"
        bench.bank.behave("return-later", days=2, reason="R03", end_to_end_id=identification_of(returned.rail_key))
        for request in (paid, returned):
            assert (await bench.adapter.execute(request, None)).outcome is Outcome.PENDING
        bench.bank.advance(1)
        assert {(await bench.ask(request)).outcome for request in (paid, returned)} == {Outcome.APPROVED}
        # The rejected entry comes back as a return as well. It never left, so it stays rejected.
        bench.bank.advance(5)
        assert (await bench.ask(rejected)).outcome is Outcome.DECLINED
        assert (await bench.ask(paid)).outcome is Outcome.APPROVED
        assert (await bench.ask(returned)).outcome is Outcome.APPROVED
        came_back = await returns_of(bench, identification_of(returned.rail_key))
        assert {report.reason for report in came_back} == {"R03", "AC01"}
        assert await returns_of(bench, identification_of(paid.rail_key)) == []
        told = {(notice.rail_key, notice.kind.value, notice.reason) for notice in await bench.adapter.collect_notices()}
        assert told == {
            (rejected.rail_key, "outcome", None),
            (paid.rail_key, "outcome", None),
            (returned.rail_key, "outcome", None),
            (returned.rail_key, "payout.returned", "no_account_or_unable_to_locate_it"),
        }


async def returns_of(bench: AchBench, identification: str) -> list[Any]:
    reports = await bench.adapter._files.reports(2.0)
    assert not isinstance(reports, Standing)
    return [report for report in reports if report.end_to_end_id == identification and report.word is Word.RETURNED]
