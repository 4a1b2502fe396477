"""Refunds, payouts, transfers and disputes: what is set aside, moved and given back."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.fx import FxQuote, QuoteStatus
from domain.identifiers import Mode
from domain.ledger import Posting, Refusal, RefusalCode
from domain.payout import Payout
from domain.rail import DeclineClass, Outcome, RailAnswer
from domain.refund import Refund
from domain.transfer import Transfer
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import NOT_ATTEMPTED, UNKNOWN, approve, decline
from workflows.payout import PayoutWorkflow, StartPayout
from workflows.policies import PAYMENTS_QUEUE
from workflows.refund import RefundWorkflow
from workflows.refund_messages import StartRefund
from workflows.transfer import TransferWorkflow
from workflows.transfer_messages import StartTransfer

COMMON: dict[str, Any] = {
    "merchant_id": "mer_a",
    "mode": Mode.TEST,
    "amount_minor": 5000,
    "currency": "EUR",
    "workflow_id": "w",
    "created_at": datetime(2026, 1, 1, tzinfo=UTC),
}
PENDING = RailAnswer(outcome=Outcome.PENDING)
INSUFFICIENT = Refusal(code=RefusalCode.EXCEEDS_AVAILABLE_BALANCE, detail="12 are available")


async def run(world: World, workflow_run: Any, start: Any) -> dict[str, Any]:
    """Run one workflow to its end."""
    document: dict[str, Any] = await world.client.execute_workflow(
        workflow_run, start, id=uuid.uuid4().hex, task_queue=PAYMENTS_QUEUE
    )
    return document


def refund() -> StartRefund:
    one = Refund(id="re_1", charge="ch_1", account="acct_a", rail="alpha", original_rail_key="ch_1:1", **COMMON)
    return StartRefund(refund=one, claim=claim(one.id))


def payout(**changes: Any) -> StartPayout:
    one = Payout(id="po_1", source="acct_a", destination={"type": "iban", "iban": "x"}, **(COMMON | changes))
    return StartPayout(payout=one, claim=claim(one.id))


def transfer() -> StartTransfer:
    one = Transfer(id="tr_1", source="acct_a", destination="acct_b", **COMMON)
    return StartTransfer(transfer=one, claim=claim(one.id))


def fx_transfer(**changes: Any) -> StartTransfer:
    """50.00 EUR become 54.20 USD at a quote that lasts for years (the time-skipping server's clock is ours)."""
    quote = FxQuote(
        id="fxq_1",
        merchant_id="mer_a",
        mode=Mode.TEST,
        sell_currency="EUR",
        sell_amount_minor=5000,
        buy_currency="USD",
        buy_amount_minor=5420,
        fixed_side="sell",
        rate="1.0840",
        mid_rate="1.0840",
        spread_basis_points=0,
        rate_source="test",
        rate_as_of=COMMON["created_at"],
        created_at=COMMON["created_at"],
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    )
    one = Transfer(id="tr_1", source="acct_a", destination="acct_b", fx_quote=replace(quote, **changes), **COMMON)
    return StartTransfer(transfer=one, claim=claim(one.id))


def refuse_once(code: RefusalCode) -> Any:
    """Refuse every posting that carries facts."""

    def refuse(posting: Posting) -> Refusal | None:
        return Refusal(code=code, detail="no", object_id="other") if posting.facts else None

    return refuse


async def test_refund_reserves_before_the_rail_is_asked_and_posts_after(world: World) -> None:
    document = await run(world, RefundWorkflow.run, refund())
    assert document["status"] == "succeeded"
    assert world.book.facts() == ["refund_reserved", "refund_succeeded"]
    assert world.rails.orders[0].original_rail_key == "ch_1:1"


async def test_declined_refund_gives_the_money_back(world: World) -> None:
    world.rails.script = lambda request, call: decline(DeclineClass.HARD, "account_closed")
    document = await run(world, RefundWorkflow.run, refund())
    assert (document["status"], document["failure_code"]) == ("failed", "account_closed")
    assert world.book.facts() == ["refund_reserved", "refund_failed"]


async def test_pending_refund_that_fails_later(world: World) -> None:
    world.rails.script = lambda request, call: PENDING
    world.rails.inquiry_script = lambda inquiry, call: (
        decline(DeclineClass.HARD, "account_closed") if call == 2 else PENDING
    )
    document = await run(world, RefundWorkflow.run, refund())
    assert document["status"] == "failed"
    assert world.book.events() == ["refund.pending", "refund.failed"]
    assert world.book.facts() == ["refund_reserved", "refund_failed"]


async def test_unknown_refund_is_asked_not_sent_again(world: World) -> None:
    world.rails.script = lambda request, call: UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: RailAnswer(outcome=Outcome.APPROVED)
    document = await run(world, RefundWorkflow.run, refund())
    assert document["status"] == "succeeded" and len(world.rails.orders) == 1


async def test_refund_never_attempted_gets_a_new_number_only_after_the_definite_no(world: World) -> None:
    world.rails.script = lambda request, call: NOT_ATTEMPTED if call == 1 else approve(request, call)
    document = await run(world, RefundWorkflow.run, refund())
    assert document["status"] == "succeeded"
    assert [order.rail_key for order in world.rails.orders] == ["re_1:1", "re_1:2"]


async def test_refused_refund_is_remembered_and_asks_no_rail(world: World) -> None:
    world.book.refuse = refuse_once(RefusalCode.EXCEEDS_REFUNDABLE_AMOUNT)
    document = await run(world, RefundWorkflow.run, refund())
    assert (document["status"], document["failure_code"]) == ("failed", "exceeds_refundable_amount")
    assert world.rails.orders == [] and world.book.facts() == []
    assert world.book.postings["re_1:1"].claim is not None


async def test_payout_passes_through_transit(world: World) -> None:
    document = await run(world, PayoutWorkflow.run, payout())
    assert document["status"] == "paid"
    assert world.book.facts() == ["payout_started", "payout_paid"]


async def test_soft_declined_payout_moves_to_the_next_rail(world: World) -> None:
    world.rails.script = lambda request, call: decline(DeclineClass.SOFT) if call == 1 else approve(request, call)
    document = await run(world, PayoutWorkflow.run, payout())
    assert (document["status"], document["rail"]) == ("paid", "beta")
    assert world.book.facts() == ["payout_started", "payout_rerouted", "payout_paid"]
    assert [order.rail_key for order in world.rails.orders] == ["po_1:1", "po_1:2"]


@pytest.mark.parametrize("answer", [UNKNOWN, PENDING])
async def test_open_payout_keeps_the_money_in_transit_until_told(world: World, answer: RailAnswer) -> None:
    world.rails.script = lambda request, call: answer
    world.rails.inquiry_script = lambda inquiry, call: decline(DeclineClass.HARD) if call == 2 else answer
    document = await run(world, PayoutWorkflow.run, payout())
    assert document["status"] == "failed" and len(world.rails.orders) == 1
    assert world.book.facts() == ["payout_started", "payout_failed"]


async def test_payout_without_funds_asks_no_rail(world: World) -> None:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    document = await run(world, PayoutWorkflow.run, payout())
    assert (document["status"], document["failure_code"]) == ("failed", "exceeds_available_balance")
    assert world.rails.orders == []


async def test_transfer_is_one_posting(world: World) -> None:
    document = await run(world, TransferWorkflow.run, transfer())
    assert document["status"] == "settled"
    assert list(world.book.postings) == ["tr_1:1"] and world.book.facts() == ["transfer_made"]


async def test_refused_transfer_is_remembered(world: World) -> None:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    document = await run(world, TransferWorkflow.run, transfer())
    assert (document["status"], document["failure_code"]) == ("failed", "exceeds_available_balance")
    assert world.book.facts() == []


async def test_a_refused_transfer_run_again_after_a_crash_stays_refused(world: World) -> None:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    await run(world, TransferWorkflow.run, transfer())
    world.book.refuse = lambda posting: None
    document = await run(world, TransferWorkflow.run, transfer())
    assert document["status"] == "failed" and world.book.facts() == []


LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)
KNOWN_OTHERWISE = Refusal(code=RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, detail="movement fxq_1:sell exists")


async def test_an_exchange_uses_its_quote_up_in_the_same_posting(world: World) -> None:
    document = await run(world, TransferWorkflow.run, fx_transfer())
    assert (document["status"], document["fx_quote"]) == ("settled", "fxq_1")
    assert (document["exchange"]["sell_amount"], document["exchange"]["buy_amount"]) == (5000, 5420)
    assert list(world.book.postings) == ["tr_1:1"] and world.book.facts() == ["currency_exchanged"]
    assert world.book.events() == ["transfer.settled", "fx_quote.used"]
    used = world.book.documents["fxq_1"]
    assert (used["status"], used["transfer"]) == ("used", "tr_1")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"expires_at": LONG_AGO}, "fx_quote_expired"),
        ({"status": QuoteStatus.USED, "version": 2, "transfer": "tr_0"}, "fx_quote_used"),
    ],
)
async def test_a_quote_that_is_over_moves_nothing(world: World, changes: dict[str, Any], code: str) -> None:
    document = await run(world, TransferWorkflow.run, fx_transfer(**changes))
    assert (document["status"], document["failure_code"]) == ("failed", code)
    assert world.book.facts() == [] and world.book.events() == ["transfer.failed"]
    assert "fxq_1" not in world.book.documents


async def test_a_quote_lost_to_another_transfer_at_the_commit(world: World) -> None:
    world.book.refuse = lambda posting: KNOWN_OTHERWISE if posting.facts else None
    document = await run(world, TransferWorkflow.run, fx_transfer())
    assert (document["status"], document["failure_code"]) == ("failed", "fx_quote_used")


async def test_a_refused_exchange_leaves_the_quote_open(world: World) -> None:
    world.book.refuse = lambda posting: INSUFFICIENT if posting.facts else None
    document = await run(world, TransferWorkflow.run, fx_transfer())
    assert (document["status"], document["failure_code"]) == ("failed", "exceeds_available_balance")
    assert "fxq_1" not in world.book.documents


async def test_an_exchange_run_again_after_a_crash_keeps_its_outcome(world: World) -> None:
    """The second run finds the quote expired; the money has moved, and that is what it answers."""
    settled = await run(world, TransferWorkflow.run, fx_transfer())
    for changes in ({}, {"expires_at": LONG_AGO}):
        assert await run(world, TransferWorkflow.run, fx_transfer(**changes)) == settled
    assert list(world.book.postings) == ["tr_1:1"]


async def test_an_expired_quote_under_a_key_of_another_object(world: World) -> None:
    taken = Refusal(code=RefusalCode.IDEMPOTENCY_KEY_TAKEN, detail="no", object_id="other")
    world.book.refuse = lambda posting: taken
    document = await run(world, TransferWorkflow.run, fx_transfer(expires_at=LONG_AGO))
    assert document == {"object": "superseded", "key_taken_by": "other"}


async def test_a_key_of_another_object_ends_the_run(world: World) -> None:
    world.book.refuse = refuse_once(RefusalCode.IDEMPOTENCY_KEY_TAKEN)
    for start, workflow_run in (
        (transfer(), TransferWorkflow.run),
        (payout(), PayoutWorkflow.run),
        (refund(), RefundWorkflow.run),
    ):
        assert (await run(world, workflow_run, start)) == {"object": "superseded", "key_taken_by": "other"}
    assert world.rails.orders == []
