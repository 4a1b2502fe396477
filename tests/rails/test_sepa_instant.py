"""SEPA instant transfers under the rails contract and by the scheme's clock, against a clearing of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapters.sepa.instant import SepaInstantAdapter, build
from rails.contract import CONTRACT, Effect, RailBench
from rails.faulty_path import Fault, FaultyPath
from rails.iso20022.references import reference_of
from tests.rails.clearing_process import Clearing, running_clearing

PAYEE = "DE89370400440532013000"
NAMES = {"approved": "Ada", "lost": "Ada", "declined_hard": "Ada CLOSED", "declined_soft": "Ada SHORT"}


class InstantBench(RailBench):
    def __init__(self, clearing: Clearing, path: FaultyPath) -> None:
        self.clearing = clearing
        self.path = path
        line = {"debtor_iban": "NL91ABNA0417164300", "debtor_name": "Ledgerline B.V.", "debtor_bic": "ABNANL2A"} | {
            "mailbox_path": "/mailbox"
        }
        (built,) = build({"url": path.url, **line})
        assert isinstance(built, SepaInstantAdapter)
        built._now = clearing.now
        self.adapter: SepaInstantAdapter = built

    def first_flow(self) -> Flow:
        return Flow.PAYOUT

    def order_fields(self, fate: str) -> dict[str, object]:
        if fate == "lost":
            self.path.delay_next()
        return {
            "destination": {"type": "iban", "iban": PAYEE, "name": NAMES[fate]},
            "requested_at": self.clearing.now(),
        }

    def effect(self, rail_key: str) -> Effect | None:
        row = self.clearing.books().get(reference_of(rail_key))
        if row is None or row["status"] != "ACCP":
            return None
        return Effect(row["status"], round(float(row["amount"]) * 100), row["calls"])

    async def break_next_call(self, kind: Fault) -> None:
        await self.path.break_next(kind)

    async def heal(self) -> None:
        await self.path.heal()

    async def run(self, request: RailRequest) -> RailAnswer:
        """A worker that died is noticed later than the scheme's ten seconds."""
        if request.resumed:
            self.clearing.wait(10)
        return await super().run(request)

    async def ask(self, request: RailRequest, *, sent_ago_seconds: float = 0.0) -> RailAnswer:
        """Really wait instead of claiming so: the clearing judges by its own clock. Never before ten seconds."""
        self.clearing.wait(max(sent_ago_seconds, 10))
        assert request.requested_at is not None
        return await self.adapter.inquire(
            flow=request.flow, rail_key=request.rail_key, sent_at=request.requested_at, deadline_seconds=2.0
        )


@pytest.fixture(scope="module")
def clearing() -> Iterator[Clearing]:
    with running_clearing() as started:
        yield started


@pytest.fixture
async def bench(clearing: Clearing) -> AsyncIterator[InstantBench]:
    path = FaultyPath(clearing.url)
    await path.start()
    built = InstantBench(clearing, path)
    yield built
    await built.adapter.aclose()
    await path.stop()


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
async def test_sepa_instant_keeps_contract(bench: InstantBench, rule: Callable[[RailBench], Awaitable[None]]) -> None:
    await rule(bench)


async def test_confirmed_transfer_is_final(bench: InstantBench) -> None:
    request = bench.order()
    answer = await bench.run(request)
    assert (answer.outcome, answer.final_funds) == (Outcome.APPROVED, True)
    row = bench.clearing.books()[reference_of(request.rail_key)]
    assert (row["amount"], row["currency"], row["iban"], row["calls"]) == ("84.20", "EUR", PAYEE, 1)


async def test_nothing_is_asked_within_the_schemes_ten_seconds(bench: InstantBench) -> None:
    """Rule 29: silence holds the money; a pacs.028 goes out when the time is over, and before anything else."""
    request = bench.order()
    await bench.break_next_call("drop_after")
    assert (await bench.run(request)).outcome is Outcome.UNKNOWN
    await bench.break_next_call("refuse")
    early = await bench.adapter.inquire(
        flow=request.flow, rail_key=request.rail_key, sent_at=bench.clearing.now(), deadline_seconds=2.0
    )
    assert early.outcome is Outcome.UNKNOWN and "within the scheme's time" in (early.detail or "")
    await bench.heal()
    assert (await bench.ask(request)).outcome is Outcome.APPROVED
    assert bench.clearing.books()[reference_of(request.rail_key)]["calls"] == 1


async def test_resumed_transfer_is_asked_about_and_never_sent_again(bench: InstantBench) -> None:
    request = bench.order()
    await bench.break_next_call("drop_before")
    assert (await bench.run(request)).outcome is Outcome.UNKNOWN
    assert (await bench.run(replace(request, resumed=True))).outcome is Outcome.UNKNOWN
    assert reference_of(request.rail_key) not in bench.clearing.books()


async def test_late_transfer_is_rejected_by_the_scheme_and_was_not_attempted(bench: InstantBench) -> None:
    """The time stamp is the attempt's own, so an order that hung in a queue can't take effect afterwards."""
    request = bench.order()
    bench.clearing.wait(11)
    assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED
    assert bench.effect(request.rail_key) is None


async def test_repeated_transfer_is_refused_by_the_clearing_and_stands(bench: InstantBench) -> None:
    """A network that delivers twice gets AM05 for the second: that is no refusal of the first."""
    request = bench.order()
    assert (await bench.run(request)).outcome is Outcome.APPROVED
    assert (await bench.run(request)).outcome is Outcome.PENDING
    assert (await bench.ask(request)).outcome is Outcome.APPROVED
    assert bench.clearing.books()[reference_of(request.rail_key)]["amount"] == "84.20"


async def test_bank_that_is_offline_is_not_attempted(bench: InstantBench) -> None:
    request = bench.order(destination={"type": "iban", "iban": PAYEE, "name": "Ada OFFLINE"})
    assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED


async def test_iban_without_a_known_bank_is_not_attempted(bench: InstantBench) -> None:
    request = bench.order(destination={"type": "iban", "iban": "NL30MOCK0000000005", "name": "Ada"})
    assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED
    assert reference_of(request.rail_key) not in bench.clearing.books()


async def test_suspended_bank_declines_softly(bench: InstantBench) -> None:
    answer = await bench.run(bench.order(destination={"type": "iban", "iban": PAYEE, "name": "Ada SUSPENDED"}))
    assert (answer.decline_code, answer.decline_class) == ("agent_suspended", DeclineClass.SOFT)


async def test_return_after_success_is_collected_from_the_mailbox(bench: InstantBench) -> None:
    rail_key = "po_01m8c0zehk714fgvgns9mq5k6r:1"
    request = bench.order(rail_key=rail_key)
    assert (await bench.run(request)).outcome is Outcome.APPROVED
    bench.clearing.send_back(reference_of(rail_key), "MD07")
    for _ in range(2):
        outcome, returned = await bench.adapter.collect_notices()
        assert (outcome.rail_key, outcome.answer and outcome.answer.outcome) == (rail_key, Outcome.APPROVED)
        assert (returned.kind.value, returned.rail_key) == ("payout.returned", rail_key)
        assert (returned.amount_minor, returned.currency, returned.reason) == (8420, "EUR", "end_customer_deceased")
