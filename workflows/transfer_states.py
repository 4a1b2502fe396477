"""A transfer's next state: pure functions from the transfer and a wish to the step that is to be committed."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from domain.facts import (
    AccountFunded,
    CurrencyExchanged,
    Fact,
    TransferHeld,
    TransferMade,
    TransferPosted,
    TransferReleased,
    TransferReversed,
)
from domain.fx import quote_used
from domain.ledger import KeyClaim, Refusal, RefusalCode
from domain.money import format_amount
from domain.transfer import Transfer, TransferPost, TransferStatus, transfer_document
from workflows.update_answer import UpdateAnswer

ALREADY_REVERSED = "transfer_already_reversed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A version of a transfer to commit, with its facts, its event, and the request that asked for it."""

    transfer: Transfer
    event: str
    facts: tuple[Fact, ...]
    claim: KeyClaim | None = None
    actor: str = "workflow"


def opened(transfer: Transfer, *, now: datetime, claim: KeyClaim, actor: str) -> Step:
    """Return a transfer's first commit: settled at once, or pending until it expires.

    `now` is the workflow's: a hold's end is an interval after it, whatever other clocks say.
    """
    if transfer.pending:
        assert transfer.expires_in_seconds is not None
        held = replace(
            transfer,
            status=TransferStatus.PENDING,
            version=1,
            expires_at=now + timedelta(seconds=transfer.expires_in_seconds),
        )
        return Step(transfer=held, event="transfer.pending", facts=(_first_fact(held),), claim=claim, actor=actor)
    settled = replace(transfer, status=TransferStatus.SETTLED, version=1)
    return Step(transfer=settled, event="transfer.settled", facts=(_first_fact(settled),), claim=claim, actor=actor)


def refused(step: Step, refusal: Refusal) -> Step:
    """Return the commit that remembers a refusal: a retry with the same key must not turn it into a success."""
    # Nothing is stored of this transfer, so the other facts are those of another one under a key both derive.
    taken = refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS
    reversed_before = step.transfer.reverses is not None and taken
    if step.transfer.fx_quote is not None and taken:
        refusal = quote_used(step.transfer.fx_quote.id)
    failed = replace(
        step.transfer,
        status=TransferStatus.FAILED,
        expires_at=None,
        failure_code=ALREADY_REVERSED if reversed_before else refusal.code.value,
        failure_detail=f"{step.transfer.reverses} was reversed before." if reversed_before else refusal.detail,
    )
    return replace(step, transfer=failed, event="transfer.failed", facts=())


def posted(transfer: Transfer, amount_minor: int | None, *, final: bool, tag: str) -> Step | UpdateAnswer:
    """Return the step that moves money of the hold, or the answer without one.

    Posting everything that is left is final whatever was asked. A post of 100 and another of 50, not
    final, leave 30 of a hold of 180.
    """
    if any(post.id == tag for post in transfer.posts):
        # An earlier run of this very request had committed it.
        return UpdateAnswer(document=transfer_document(transfer))
    if transfer.status is not TransferStatus.PENDING:
        return conflict_answer(transfer, "only a pending transfer can be posted")
    remaining = transfer.amount_minor - transfer.amount_posted_minor
    amount = remaining if amount_minor is None else amount_minor
    if not 0 < amount <= remaining:
        return UpdateAnswer(
            document=transfer_document(transfer),
            conflict_code="exceeds_pending_amount",
            conflict_detail=f"{format_amount(remaining, transfer.currency)} are left to post.",
            remaining_minor=remaining,
        )
    final = final or amount == remaining
    fact = TransferPosted(
        transfer_id=transfer.id,
        source=transfer.source,
        destination=transfer.destination,
        amount_minor=amount,
        currency=transfer.currency,
        post=tag,
        final=final,
        effective_at=transfer.effective_at,
    )
    changed = replace(
        transfer,
        status=TransferStatus.SETTLED if final else TransferStatus.PENDING,
        posts=(*transfer.posts, TransferPost(id=tag, amount_minor=amount)),
    )
    return Step(transfer=changed, event="transfer.posted", facts=(fact,))


def voided(transfer: Transfer) -> Step | UpdateAnswer:
    """Return the step that releases what is left of the hold, or the conflict."""
    if transfer.status is not TransferStatus.PENDING:
        return conflict_answer(transfer, "only a pending transfer can be voided")
    return _released(transfer, TransferStatus.VOIDED)


def expired(transfer: Transfer) -> Step | UpdateAnswer:
    """Return the step that ends a hold whose time is over, or the conflict when it had ended before."""
    if transfer.status is not TransferStatus.PENDING:
        return conflict_answer(transfer, "it had ended before")
    return _released(transfer, TransferStatus.EXPIRED)


def as_stored(transfer: Transfer, document: dict[str, Any]) -> Transfer:
    """Return the transfer in the state of its stored document, which a run before this one may have committed."""
    assert document["id"] == transfer.id
    expires_at = document.get("expires_at")
    return replace(
        transfer,
        status=TransferStatus(document["status"]),
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        posts=tuple(TransferPost(id=post["id"], amount_minor=post["amount"]) for post in document.get("posts", ())),
        entries=tuple(document["entries"]),
        failure_code=document["failure_code"],
        failure_detail=document["failure_detail"],
    )


def conflict_answer(transfer: Transfer, detail: str) -> UpdateAnswer:
    """Return the conflict of an update that the transfer's state does not allow."""
    return UpdateAnswer(
        document=transfer_document(transfer),
        conflict_code="transfer_state_conflict",
        conflict_detail=f"The transfer is {transfer.status}: {detail}.",
    )


def refused_answer(transfer: Transfer, refusal: Refusal) -> UpdateAnswer:
    """Return the conflict of an update that the ledger refused (a frozen account, say); the hold stays."""
    return UpdateAnswer(
        document=transfer_document(transfer), conflict_code=refusal.code.value, conflict_detail=refusal.detail
    )


def _released(transfer: Transfer, status: TransferStatus) -> Step:
    fact = TransferReleased(
        transfer_id=transfer.id,
        source=transfer.source,
        destination=transfer.destination,
        amount_minor=transfer.amount_minor - transfer.amount_posted_minor,
        currency=transfer.currency,
    )
    changed = replace(transfer, status=TransferStatus.SETTLED if transfer.posts else status)
    return Step(transfer=changed, event=f"transfer.{status}", facts=(fact,))


def _first_fact(transfer: Transfer) -> Fact:
    if transfer.funding:
        return AccountFunded(
            transfer_id=transfer.id,
            account=transfer.destination,
            amount_minor=transfer.amount_minor,
            currency=transfer.currency,
        )
    if transfer.pending:
        return TransferHeld(
            transfer_id=transfer.id,
            source=transfer.source,
            destination=transfer.destination,
            amount_minor=transfer.amount_minor,
            currency=transfer.currency,
        )
    if transfer.fx_quote is not None:
        return CurrencyExchanged(
            transfer_id=transfer.id,
            quote_id=transfer.fx_quote.id,
            source=transfer.source,
            destination=transfer.destination,
            sell_amount_minor=transfer.fx_quote.sell_amount_minor,
            sell_currency=transfer.fx_quote.sell_currency,
            buy_amount_minor=transfer.fx_quote.buy_amount_minor,
            buy_currency=transfer.fx_quote.buy_currency,
            effective_at=transfer.effective_at,
        )
    if transfer.reverses is not None:
        return TransferReversed(
            transfer_id=transfer.reverses,
            reversal_id=transfer.id,
            source=transfer.source,
            destination=transfer.destination,
            amount_minor=transfer.amount_minor,
            currency=transfer.currency,
            effective_at=transfer.effective_at,
        )
    return TransferMade(
        transfer_id=transfer.id,
        source=transfer.source,
        destination=transfer.destination,
        amount_minor=transfer.amount_minor,
        currency=transfer.currency,
        effective_at=transfer.effective_at,
    )
