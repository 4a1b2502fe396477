"""Disputes: an inquiry moves nothing, a chargeback always posts, evidence in time, won and lost (semantics rule 21)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from domain.dispute import Dispute, DisputeKind, DisputeStatus, evidence_due_by
from domain.ledger import Posting, Refusal, RefusalCode
from domain.rail import DeclineClass, Flow
from tests.workflows.conftest import World, claim
from tests.workflows.fakes import NOT_ATTEMPTED, UNKNOWN, approve, decline
from tests.workflows.test_charge import status_is
from tests.workflows.test_refund_payout_transfer import COMMON
from workflows.dispute import DisputeWorkflow
from workflows.dispute_messages import DisputeNews, DisputeTold, StartDispute, SubmitEvidence
from workflows.policies import PAYMENTS_QUEUE
from workflows.update_answer import UpdateAnswer

Handle = WorkflowHandle[Any, Any]
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def dispute(**changes: Any) -> Dispute:
    """A chargeback of 50.00 EUR with a fee of 15.00."""
    terms = {
        "id": "dp_1",
        "charge": "ch_1",
        "rail": "alpha",
        "rail_reference": "cb_1",
        "account": "acct_a",
        "fee_minor": 1500,
        "original_rail_key": "ch_1:1",
        "evidence_due_by": FAR,
    }
    return Dispute(**{**COMMON, **terms, **changes})


def inquiry() -> Dispute:
    """The bank asks about 50.00 EUR."""
    return dispute(kind=DisputeKind.INQUIRY, status=DisputeStatus.WARNING_NEEDS_RESPONSE)


async def opened(world: World, one: Dispute | None = None) -> Handle:
    """A dispute that has begun."""
    one = one or dispute()
    handle = await world.client.start_workflow(
        DisputeWorkflow.run, StartDispute(dispute=one), id=f"w-{one.id}", task_queue=PAYMENTS_QUEUE
    )
    await status_is(world, one.id, one.status)
    return handle


async def tell(handle: Handle, news: DisputeNews, amount_minor: int = 5000) -> None:
    """The rail says what came of it."""
    await handle.signal(DisputeWorkflow.told, DisputeTold(news=news, amount_minor=amount_minor, currency="EUR"))


async def submit(handle: Handle, key: str, *, submit: bool = True, text: str = "signed for by the cardholder") -> Any:
    """The merchant says its side."""
    request = SubmitEvidence(evidence={"receipt": text}, submit=submit, claim=claim("dp_1", key))
    answer: UpdateAnswer = await handle.execute_update(DisputeWorkflow.submit_evidence, request, id=key)
    return answer


async def test_rule_21_a_chargeback_debits_at_once_and_a_win_reinstates(world: World) -> None:
    handle = await opened(world)
    assert world.book.facts() == ["chargeback_received"]
    answer = await submit(handle, "k1")
    assert answer.document["status"] == "under_review" and answer.document["evidence_details"]["submitted_at"]
    (order,) = world.rails.orders
    assert (order.flow, order.dispute_reference, order.evidence) == (
        Flow.EVIDENCE,
        "cb_1",
        {"receipt": "signed for by the cardholder"},
    )
    await tell(handle, DisputeNews.WON)
    document = await handle.result()
    assert (document["status"], document["fee_returned"]) == ("won", 0)
    assert world.book.facts() == ["chargeback_received", "dispute_won"]
    assert world.book.events() == ["dispute.created", "dispute.updated", "dispute.evidence_submitted", "dispute.won"]


async def test_rule_21_lost_is_final_and_moves_nothing_more(world: World) -> None:
    handle = await opened(world)
    await tell(handle, DisputeNews.LOST)
    assert (await handle.result())["status"] == "lost"
    assert world.book.facts() == ["chargeback_received"]
    assert world.book.events() == ["dispute.created", "dispute.lost"]


async def test_rule_21_an_inquiry_moves_nothing_until_it_escalates_for_another_amount(world: World) -> None:
    handle = await opened(world, inquiry())
    assert world.book.facts() == [] and world.book.documents["dp_1"]["fee"] == 0
    await tell(handle, DisputeNews.ESCALATED, 4000)
    await status_is(world, "dp_1", "needs_response")
    await tell(handle, DisputeNews.ESCALATED, 4000)
    await tell(handle, DisputeNews.WON, 4000)
    document = await handle.result()
    assert (document["kind"], document["amount"], document["status"]) == ("chargeback", 4000, "won")
    moved = [(fact.fact, fact.amount_minor) for posting in world.book.postings.values() for fact in posting.facts]  # type: ignore[union-attr]
    assert moved == [("chargeback_received", 4000), ("dispute_won", 4000)]


async def test_rule_21_an_inquiry_that_ends_has_moved_nothing(world: World) -> None:
    handle = await opened(world, inquiry())
    assert (await submit(handle, "k1")).document["status"] == "warning_under_review"
    await tell(handle, DisputeNews.CLOSED)
    assert (await handle.result())["status"] == "warning_closed"
    assert world.book.facts() == []


async def test_the_fee_comes_back_with_a_win_where_the_plan_says_so(world: World) -> None:
    handle = await opened(world, dispute(fee_returned_when_won=True))
    await tell(handle, DisputeNews.WON)
    assert (await handle.result())["fee_returned"] == 1500
    (fact,) = [fact for posting in world.book.postings.values() for fact in posting.facts if fact.fact == "dispute_won"]
    assert fact.fee_returned_minor == 1500


async def test_silence_until_the_deadline_loses_a_chargeback(world: World) -> None:
    handle = await opened(world, dispute(evidence_due_by=datetime.now(UTC) + timedelta(days=27)))
    document = await handle.result()  # The server skips the 27 days.
    assert (document["status"], document["closed_reason"]) == ("lost", "evidence_deadline_passed")
    assert document["evidence_details"]["past_due"] is True and world.book.facts() == ["chargeback_received"]


async def test_evidence_is_submitted_once_and_a_draft_before_it(world: World) -> None:
    handle = await opened(world)
    draft = await submit(handle, "k1", submit=False, text="first")
    assert draft.document["status"] == "needs_response" and world.rails.orders == []
    assert (await submit(handle, "k2", text="second")).document["evidence"] == {"receipt": "second"}
    assert (await submit(handle, "k3")).conflict_code == "evidence_already_submitted"
    assert len(world.rails.orders) == 1


async def test_evidence_whose_answer_is_lost_is_asked_about_not_sent_again(world: World) -> None:
    world.rails.script = lambda request, call: NOT_ATTEMPTED if call == 1 else UNKNOWN
    world.rails.inquiry_script = lambda inquiry, call: approve(None, call) if call == 2 else UNKNOWN  # type: ignore[arg-type]
    handle = await opened(world)
    assert (await submit(handle, "k1")).document["status"] == "under_review"
    assert [order.rail_key.rpartition(":")[2] for order in world.rails.orders] == ["1", "2"]
    assert len(world.rails.questions) == 2


async def test_evidence_the_rail_refuses_leaves_the_dispute_as_it_was(world: World) -> None:
    world.rails.script = lambda request, call: decline(DeclineClass.HARD, "dispute_not_open")
    handle = await opened(world)
    answer = await submit(handle, "k1")
    assert answer.conflict_code == "evidence_refused" and answer.document["status"] == "needs_response"


async def test_a_chargeback_of_a_closed_account_posts_to_suspense_with_an_exception(world: World) -> None:
    def refuse(posting: Posting) -> Refusal | None:
        if any(not getattr(fact, "to_suspense", True) for fact in posting.facts):
            return Refusal(code=RefusalCode.ACCOUNT_CLOSED, detail="closed")
        return None

    world.book.refuse = refuse
    handle = await opened(world)
    await tell(handle, DisputeNews.LOST)
    await handle.result()
    assert world.book.facts() == ["chargeback_received"]
    (exception,) = [one for one in world.book.documents.values() if one.get("object") == "exception"]
    assert (exception["kind"], exception["subject"]) == ("money_in_suspense", "dp_1")


@pytest.mark.parametrize(
    ("scheme", "kind", "days"),
    [("visa", "chargeback", 27), ("mastercard", "chargeback", 42), ("amex", "inquiry", 17), (None, "chargeback", 17)],
)
def test_deadlines_come_from_the_table(scheme: str | None, kind: str, days: int) -> None:
    since = datetime(2026, 3, 1, tzinfo=UTC)
    assert evidence_due_by(scheme, DisputeKind(kind), since) == since + timedelta(days=days)
