"""What rails tell days after they said yes: refunds that fail, payouts that come back (semantics rules 18 and 29)."""

import pytest

from domain.identifiers import Mode
from domain.ledger import Posting, Refusal, RefusalCode
from domain.notice import NoticeKind, RailNotice
from domain.rail import Outcome, RailAnswer
from tests.workflows.conftest import World
from tests.workflows.test_charge import status_is
from tests.workflows.test_refund_payout_transfer import PENDING, payout, refund, run
from workflows.payout import PayoutWorkflow
from workflows.policies import PAYMENTS_QUEUE
from workflows.rail_notice import RailNoticeWorkflow, StartRailNotice
from workflows.refund import RefundWorkflow


def told(kind: str, object_id: str, reference: str = "rr_1", amount_minor: int = 5000) -> StartRailNotice:
    """A rail's notice about 50.00 EUR on rail alpha."""
    notice = RailNotice(
        kind=NoticeKind(kind),
        object_id=object_id,
        merchant_id="mer_a",
        mode=Mode.TEST,
        rail="alpha",
        rail_key=f"{object_id}:1",
        reference=reference,
        amount_minor=amount_minor,
        currency="EUR",
        reason="account_closed",
    )
    return StartRailNotice(notice=notice)


def refuse_closed(posting: Posting) -> Refusal | None:
    """Refuse every posting that credits a closed account; suspense takes it."""
    if any(not getattr(fact, "to_suspense", True) for fact in posting.facts):
        return Refusal(code=RefusalCode.ACCOUNT_CLOSED, detail="the account is closed")
    return None


async def test_rule_18_a_refund_that_succeeded_fails_days_later(world: World) -> None:
    await run(world, RefundWorkflow.run, refund())
    document = await run(world, RailNoticeWorkflow.run, told("refund.failed", "re_1"))
    assert (document["status"], document["failure_code"]) == ("failed", "account_closed")
    assert world.book.facts() == ["refund_reserved", "refund_succeeded", "refund_reversed"]
    assert world.book.events() == ["refund.succeeded", "refund.failed"]
    again = await run(world, RailNoticeWorkflow.run, told("refund.failed", "re_1", "rr_2"))
    assert again["status"] == "failed" and world.book.facts().count("refund_reversed") == 1
    assert len(world.rails.orders) == 1, "never redirected by itself"


async def test_rule_29_a_paid_payout_comes_back_once(world: World) -> None:
    await run(world, PayoutWorkflow.run, payout())
    document = await run(world, RailNoticeWorkflow.run, told("payout.returned", "po_1"))
    assert (document["status"], document["id"]) == ("returned", "po_1")
    assert world.book.facts() == ["payout_started", "payout_paid", "payout_returned"]
    assert world.book.events() == ["payout.processing", "payout.paid", "payout.returned"]
    assert await run(world, RailNoticeWorkflow.run, told("payout.returned", "po_1")) == document
    assert world.book.facts().count("payout_returned") == 1


@pytest.mark.parametrize(
    ("kind", "reference", "amount_minor", "why"),
    [
        ("payout.returned", "rr_2", 5000, "the payout is returned"),
        ("payout.paid", "rr_3", 5000, "the payout is returned"),
        ("payout.failed", "rr_4", 4999, "it is about 4999 EUR"),
    ],
)
async def test_rule_29_what_contradicts_a_return_is_an_exception(
    world: World, kind: str, reference: str, amount_minor: int, why: str
) -> None:
    await run(world, PayoutWorkflow.run, payout())
    await run(world, RailNoticeWorkflow.run, told("payout.returned", "po_1"))
    moved = world.book.facts()
    for _ in range(2):
        exception = await run(world, RailNoticeWorkflow.run, told(kind, "po_1", reference, amount_minor))
        assert (exception["object"], exception["status"], exception["subject"]) == ("exception", "open", "po_1")
        assert why in exception["detail"]
    assert world.book.facts() == moved and world.book.documents["po_1"]["status"] == "returned"
    assert world.book.events().count("exception.opened") == 1


async def test_a_late_failure_after_paid_is_money_come_back(world: World) -> None:
    await run(world, PayoutWorkflow.run, payout())
    document = await run(world, RailNoticeWorkflow.run, told("payout.failed", "po_1"))
    assert document["status"] == "returned" and world.book.facts()[-1] == "payout_returned"


async def test_a_notice_waits_until_the_payout_has_its_answer(world: World) -> None:
    world.rails.script = lambda request, call: PENDING
    world.rails.inquiry_script = lambda inquiry, call: RailAnswer(outcome=Outcome.APPROVED)
    await world.client.start_workflow(PayoutWorkflow.run, payout(), id="w-payout", task_queue=PAYMENTS_QUEUE)
    await status_is(world, "po_1", "processing")
    document = await run(world, RailNoticeWorkflow.run, told("payout.returned", "po_1"))
    assert document["status"] == "returned"
    assert world.book.facts() == ["payout_started", "payout_paid", "payout_returned"]


async def test_money_for_a_closed_account_waits_in_suspense_for_a_person(world: World) -> None:
    await run(world, PayoutWorkflow.run, payout())
    world.book.refuse = refuse_closed
    document = await run(world, RailNoticeWorkflow.run, told("payout.returned", "po_1"))
    assert document["status"] == "returned"
    (exception,) = [one for one in world.book.documents.values() if one.get("object") == "exception"]
    assert (exception["kind"], exception["amount"]) == ("money_in_suspense", 5000)
