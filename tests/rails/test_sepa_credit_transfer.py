"""SEPA credit transfers under the rails contract and beyond it, against `mock-bank` and its own books."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.rail import DeclineClass, Flow, Outcome
from rails.adapters.sepa.credit_transfer import SepaCreditTransferAdapter, build
from rails.contract import CONTRACT, Effect, RailBench
from rails.faulty_path import Fault, FaultyPath
from rails.iso20022.references import reference_of
from tests.rails.mock_bank import CLOSED, DEBTOR, ELSEWHERE, MockBank

# A Thursday morning: what is ordered now is booked at once.
BANK_TIME = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)
NUMBERS = itertools.count(1)


class SepaBench(RailBench):
    def __init__(self, bank: MockBank, path: FaultyPath) -> None:
        self.bank = bank
        self.path = path
        (built,) = build(bank.line(url=path.url, debtor_iban=DEBTOR, debtor_name="Ledgerline Müller GmbH"))
        assert isinstance(built, SepaCreditTransferAdapter)
        built._now = lambda: BANK_TIME
        self.adapter: SepaCreditTransferAdapter = built

    def first_flow(self) -> Flow:
        return Flow.PAYOUT

    def order_fields(self, fate: str) -> dict[str, object]:
        if fate == "lost":
            self.path.delay_next()
        if fate == "declined_soft":
            # Our own account is short: another bank of ours may have the money.
            self.bank.account(behaviour="insufficient-funds", balance=0)
        iban = CLOSED if fate == "declined_hard" else ELSEWHERE
        return {"destination": {"type": "iban", "iban": iban, "name": "Zoë Straße & Söhne"}}

    def effect(self, rail_key: str) -> Effect | None:
        found = self.bank.orders(reference_of(rail_key))
        assert len(found) <= 1, f"{rail_key} is {len(found)} payments at the bank"
        return Effect(found[0]["status"], found[0]["amount"], len(found)) if found else None

    async def break_next_call(self, kind: Fault) -> None:
        await self.path.break_next(kind)

    async def heal(self) -> None:
        await self.path.heal()
        self.bank.account(behaviour="accept", balance=10_000_000_00)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockBank]:
    started = MockBank(tmp_path_factory.mktemp("mock-bank"), clock=BANK_TIME.strftime("%Y-%m-%dT%H:%M"))
    yield started
    started.stop()


@contextlib.asynccontextmanager
async def bench_at(bank: MockBank) -> AsyncIterator[SepaBench]:
    path = FaultyPath(bank.url)
    await path.start()
    built = SepaBench(bank, path)
    yield built
    await built.heal()
    await built.adapter.aclose()
    await path.stop()


@pytest.fixture
async def bench(bank: MockBank) -> AsyncIterator[SepaBench]:
    async with bench_at(bank) as built:
        yield built


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
async def test_sepa_credit_transfer_keeps_contract(
    bench: SepaBench, rule: Callable[[RailBench], Awaitable[None]]
) -> None:
    await rule(bench)


async def test_booked_order_is_approved_under_its_own_reference(bench: SepaBench) -> None:
    request = bench.order()
    answer = await bench.run(request)
    assert (answer.outcome, answer.rail_reference) == (Outcome.APPROVED, reference_of(request.rail_key))
    (booked,) = bench.bank.orders(reference_of(request.rail_key))
    assert (booked["amount"], booked["currency"], booked["creditor_iban"]) == (8420, "EUR", ELSEWHERE)
    assert booked["creditor_name"] == "Zoe Strasse + Sohne"


async def test_order_sent_twice_is_at_the_bank_once(bench: SepaBench) -> None:
    """The network repeats the file, and a worker that died repeats it too."""
    request = bench.order()
    first = await bench.run(request)
    again = await bench.run(request)
    resumed = await bench.run(replace(request, resumed=True))
    assert {first.outcome, again.outcome, resumed.outcome} == {Outcome.APPROVED}
    assert len(bench.bank.orders(reference_of(request.rail_key))) == 1


async def test_refused_duplicate_is_no_refusal_of_the_order(bench: SepaBench) -> None:
    """A bank that says nothing of the first file, and DUPL to the second, has the order."""
    bench.bank.behave("silent")
    request = bench.order()
    await bench.path.break_next("drop_after")
    assert (await bench.adapter.execute(request, None)).outcome is Outcome.UNKNOWN
    again = await bench.adapter.execute(replace(request, resumed=True), None)
    assert again.outcome in (Outcome.PENDING, Outcome.APPROVED)
    assert len(bench.bank.orders(reference_of(request.rail_key))) == 1


async def test_resumed_order_that_never_arrived_is_sent_under_its_own_id(bench: SepaBench) -> None:
    request = bench.order()
    await bench.break_next_call("drop_before")
    assert (await bench.run(request)).outcome is Outcome.UNKNOWN
    assert bench.effect(request.rail_key) is None
    assert (await bench.run(replace(request, resumed=True))).outcome is Outcome.APPROVED
    assert len(bench.bank.orders(reference_of(request.rail_key))) == 1


async def test_resumed_order_is_not_sent_while_the_bank_cannot_be_asked(bench: SepaBench) -> None:
    request = bench.order(resumed=True)
    await bench.break_next_call("error500")
    assert (await bench.run(request)).outcome is Outcome.UNKNOWN
    assert bench.effect(request.rail_key) is None


async def test_whole_file_refused_is_declined_with_its_code(bench: SepaBench) -> None:
    bench.bank.behave("reject-file")
    answer = await bench.run(bench.order())
    assert (answer.outcome, answer.decline_code, answer.decline_class) == (
        Outcome.DECLINED,
        "invalid_file_format",
        DeclineClass.HARD,
    )


async def test_acknowledgement_of_another_file_proves_nothing(bench: SepaBench) -> None:
    await bench.path.break_next("garble")
    assert (await bench.run(bench.order())).outcome is Outcome.UNKNOWN


async def test_invalid_iban_is_declined_before_anything_is_sent(bench: SepaBench) -> None:
    request = bench.order(destination={"type": "iban", "iban": "DE00370400440532013000", "name": "Ada"})
    answer = await bench.run(request)
    assert (answer.decline_code, answer.decline_class) == ("incorrect_account_number", DeclineClass.DATA_FIX)
    assert bench.effect(request.rail_key) is None


async def test_iban_outside_sepa_is_not_attempted(bench: SepaBench) -> None:
    request = bench.order(destination={"type": "iban", "iban": "SA0380000000608010167519", "name": "Ada"})
    assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED
    assert bench.effect(request.rail_key) is None


class TestWithItsOwnBank:
    """What moves the bank's clock gets a bank of its own."""

    @pytest.fixture
    def bank(self, tmp_path: Any) -> Iterator[MockBank]:
        # After the cut-off: what is ordered now is booked on the next banking day.
        started = MockBank(tmp_path, clock="2026-03-05T16:00")
        yield started
        started.stop()

    async def test_accepted_is_pending_until_it_is_booked(self, bench: SepaBench) -> None:
        request = bench.order()
        assert (await bench.run(request)).outcome is Outcome.PENDING
        assert (await bench.ask(request)).outcome is Outcome.PENDING
        bench.bank.advance(1)
        assert (await bench.ask(request)).outcome is Outcome.APPROVED

    async def test_rejected_at_settlement_is_declined(self, bench: SepaBench) -> None:
        """First ACCP, days later RJCT: our account was closed in between, and nothing was booked."""
        request = bench.order()
        assert (await bench.run(request)).outcome is Outcome.PENDING
        bench.bank.account(closed=True)
        bench.bank.advance(1)
        answer = await bench.ask(request)
        bench.bank.account(closed=False)
        assert (answer.outcome, answer.decline_code) == (Outcome.DECLINED, "closed_account_number")

    async def test_credit_that_bears_our_reference_is_no_return(self, bench: SepaBench) -> None:
        """Whoever pays us chooses the reference."""
        request = bench.order()
        await bench.run(request)
        reference = reference_of(request.rail_key)
        bench.bank.call(
            "POST",
            "/_mock/credits",
            {"account": "ACME", "amount": 8420, "end_to_end_id": reference, "debtor": {"name": "Mallory"}},
        )
        bench.bank.advance(1)
        reports = await bench.adapter.reports(2.0)
        assert isinstance(reports, tuple)
        assert {report.word.value for report in reports if report.end_to_end_id == reference} == {"status", "booked"}
