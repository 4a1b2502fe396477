"""A transfer between two ledger accounts: one posting, or a hold that is posted, voided or expires.

A transfer at once (across currencies at a quote), and the reversal of one, is one local activity: settled
or refused with its commit.
A transfer in two phases stays open while money is set aside for it; whatever ends the hold first wins.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.fx import refuse_quote
    from domain.identifiers import post_tag
    from domain.ledger import KeyClaim, PostingResult, RefusalCode
    from domain.transfer import Transfer, TransferStatus, transfer_document
    from workflows import effects, search_attributes, transfer_states
    from workflows.committing import start_abandoned
    from workflows.postings import transfer_posting
    from workflows.transfer_messages import PostTransfer, StartTransfer, VoidTransfer
    from workflows.transfer_states import Step
    from workflows.update_answer import UpdateAnswer, key_conflict

Document = dict[str, Any]


@workflow.defn(name="TransferWorkflow")
class TransferWorkflow:
    """One run per idempotency key; one local activity when the ledger says yes, two when it refuses."""

    @workflow.init
    def __init__(self, start: StartTransfer) -> None:
        self._start = start
        self._transfer = start.transfer
        self._lock = asyncio.Lock()

    @workflow.run
    async def run(self, start: StartTransfer) -> Document:
        """Move the money, set it aside, or remember the refusal; return the transfer as the API shows it."""
        step = transfer_states.opened(start.transfer, now=workflow.now(), claim=start.claim, actor=start.actor)
        quote = start.transfer.fx_quote
        refusal = refuse_quote(quote, workflow.now()) if quote is not None else None
        if refusal is None:
            result = await _commit(step)
            # Where something is stored under this id, the refusal is about what an earlier run committed.
            refusal = None if step.transfer.id in result.documents else result.refusal
        if refusal is not None and refusal.code is not RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            result = await _commit(transfer_states.refused(step, refusal))
            refusal = result.refusal
        if refusal is not None and refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            return {"object": "superseded", "key_taken_by": refusal.object_id}
        document = result.documents.get(step.transfer.id)
        if document is None:
            raise start_abandoned(step.transfer.id)
        self._take(document, version=1)
        if self._transfer.status is not TransferStatus.PENDING:
            return document
        await self._await_end()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return transfer_document(self._transfer)

    # --- post, void, expiry ---

    async def _await_end(self) -> None:
        """Keep the money set aside until all of it is posted or released, or the hold's time is over."""
        assert self._transfer.expires_at is not None
        left = self._transfer.expires_at - workflow.now()
        try:
            await workflow.wait_condition(
                lambda: self._transfer.status is not TransferStatus.PENDING,
                timeout=max(left, timedelta(milliseconds=1)),
            )
        except TimeoutError:
            await self._change(transfer_states.expired)

    @workflow.update(name="post")
    async def post(self, request: PostTransfer) -> UpdateAnswer:
        """Move money of the hold. Posts, voids and the expiry take turns."""
        tag = post_tag(request.claim.key)
        return await self._change(
            lambda transfer: transfer_states.posted(transfer, request.amount_minor, final=request.final, tag=tag),
            claim=request.claim,
            actor=request.actor,
        )

    @workflow.update(name="void")
    async def void(self, request: VoidTransfer) -> UpdateAnswer:
        """Give what is left of the hold back."""
        return await self._change(transfer_states.voided, claim=request.claim, actor=request.actor)

    @post.validator
    def _only_holds_are_posted(self, request: PostTransfer) -> None:
        self._require_two_phases()

    @void.validator
    def _only_holds_are_voided(self, request: VoidTransfer) -> None:
        self._require_two_phases()

    def _require_two_phases(self) -> None:
        # A transfer at once is over before an update could matter; its run must not wait for one.
        if not self._start.transfer.pending:
            raise ValueError("this transfer has no second phase")

    async def _change(
        self,
        decide: Callable[[Transfer], Step | UpdateAnswer],
        *,
        claim: KeyClaim | None = None,
        actor: str | None = None,
    ) -> UpdateAnswer:
        """Commit what `decide` makes of the transfer as it stands, or answer why not.

        A crashed run of the same workflow task may have committed other steps than this one now; the
        stored state is then taken over and decided upon anew.
        """
        await workflow.wait_condition(lambda: self._transfer.status is not TransferStatus.PROCESSING)
        async with self._lock:
            while True:
                step = decide(self._transfer)
                if isinstance(step, UpdateAnswer):
                    return step
                version = self._transfer.version + 1
                changed = replace(step.transfer, version=version)
                result = await _commit(replace(step, transfer=changed, claim=claim, actor=actor or step.actor))
                refusal = result.refusal
                if refusal is None or refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
                    self._take(result.documents[changed.id], version=version)
                if refusal is None:
                    return UpdateAnswer(document=transfer_document(self._transfer))
                if refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
                    return key_conflict()
                if refusal.code is not RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
                    return transfer_states.refused_answer(self._transfer, refusal)

    def _take(self, document: Document, *, version: int) -> None:
        """Go on from what is stored, and keep the Temporal UI's list in step with it."""
        self._transfer = replace(transfer_states.as_stored(self._start.transfer, document), version=version)
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(str(document["status"]))])


async def _commit(step: Step) -> PostingResult:
    return await effects.post(
        transfer_posting(step.transfer, event=step.event, facts=step.facts, claim=step.claim, actor=step.actor)
    )
