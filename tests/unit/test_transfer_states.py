"""A transfer's next state: what each wish makes of it, without a workflow around it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.facts import TransferPosted, TransferReleased
from domain.identifiers import Mode
from domain.ledger import KeyClaim, Refusal, RefusalCode
from domain.transfer import Transfer, TransferStatus, transfer_document
from workflows import transfer_states
from workflows.transfer_states import Step
from workflows.update_answer import UpdateAnswer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLAIM = KeyClaim(key="k", fingerprint="f", route="/", request={}, object_kind="transfer", object_id="tr_1")


def transfer(**changes: Any) -> Transfer:
    terms: dict[str, Any] = {
        "id": "tr_1",
        "merchant_id": "mer_a",
        "mode": Mode.TEST,
        "amount_minor": 180,
        "currency": "EUR",
        "source": "acct_a",
        "destination": "acct_b",
        "workflow_id": "w",
        "created_at": NOW,
        "pending": True,
        "expires_in_seconds": 60,
    }
    return Transfer(**(terms | changes))


def held() -> Transfer:
    return transfer_states.opened(transfer(), now=NOW, claim=CLAIM, actor="key_1").transfer


def stepped(step: Step | UpdateAnswer) -> Step:
    assert isinstance(step, Step), step
    return step


def test_a_hold_expires_after_its_interval() -> None:
    step = transfer_states.opened(transfer(), now=NOW, claim=CLAIM, actor="key_1")
    assert (step.event, step.transfer.status) == ("transfer.pending", TransferStatus.PENDING)
    assert step.transfer.expires_at == NOW + timedelta(seconds=60)
    assert transfer_document(step.transfer)["amount_posted"] == 0


def test_posting_in_parts_leaves_the_rest() -> None:
    """100 and 50 of 180, not final, leave 30; taking 30 is final whatever was asked."""
    first = stepped(transfer_states.posted(held(), 100, final=False, tag="a")).transfer
    second = stepped(transfer_states.posted(first, 50, final=False, tag="b")).transfer
    assert second.status is TransferStatus.PENDING and second.amount_posted_minor == 150
    too_much = transfer_states.posted(second, 31, final=True, tag="c")
    assert isinstance(too_much, UpdateAnswer) and too_much.remaining_minor == 30
    last = stepped(transfer_states.posted(second, 30, final=False, tag="c"))
    assert last.transfer.status is TransferStatus.SETTLED
    assert isinstance(last.facts[0], TransferPosted) and last.facts[0].final


def test_a_final_post_of_a_part_ends_the_hold() -> None:
    step = stepped(transfer_states.posted(held(), 100, final=True, tag="a"))
    assert (step.transfer.status, step.transfer.amount_posted_minor) == (TransferStatus.SETTLED, 100)


def test_a_post_that_was_committed_before_is_answered_and_not_made_again() -> None:
    """A run after a crash takes the stored state over: its own post is in it already."""
    once = stepped(transfer_states.posted(held(), 100, final=False, tag="a")).transfer
    stored = transfer_states.as_stored(transfer(), transfer_document(once))
    again = transfer_states.posted(stored, 100, final=False, tag="a")
    assert isinstance(again, UpdateAnswer) and again.conflict_code is None
    assert again.document == transfer_document(once)


@pytest.mark.parametrize("status", [TransferStatus.SETTLED, TransferStatus.VOIDED, TransferStatus.EXPIRED])
def test_what_has_ended_stays_ended(status: TransferStatus) -> None:
    ended = replace(held(), status=status)
    for answer in (
        transfer_states.posted(ended, None, final=True, tag="a"),
        transfer_states.voided(ended),
        transfer_states.expired(ended),
    ):
        assert isinstance(answer, UpdateAnswer) and answer.conflict_code == "transfer_state_conflict"


def test_releasing_what_is_left() -> None:
    """Nothing posted: voided or expired. A part posted: settled with that part."""
    assert stepped(transfer_states.voided(held())).transfer.status is TransferStatus.VOIDED
    assert stepped(transfer_states.expired(held())).transfer.status is TransferStatus.EXPIRED
    part = stepped(transfer_states.posted(held(), 100, final=False, tag="a")).transfer
    step = stepped(transfer_states.voided(part))
    assert (step.event, step.transfer.status) == ("transfer.voided", TransferStatus.SETTLED)
    assert isinstance(step.facts[0], TransferReleased) and step.facts[0].amount_minor == 80


def test_a_second_reversal_says_so() -> None:
    refusal = Refusal(code=RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, detail="movement exists")
    reversal = transfer(pending=False, expires_in_seconds=None, reverses="tr_0")
    step = transfer_states.opened(reversal, now=NOW, claim=CLAIM, actor="key_1")
    failed = transfer_states.refused(step, refusal)
    assert (failed.event, failed.facts) == ("transfer.failed", ())
    assert failed.transfer.failure_code == "transfer_already_reversed"
