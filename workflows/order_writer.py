"""The one writer of a payout or refund: commits its versions, claims keys with them, keeps the Temporal UI in step."""

import asyncio
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import Fact
    from domain.ledger import KeyClaim, Posting, Record
    from domain.payout import Payout
    from domain.rail import Attempt, trail_with
    from domain.refund import Refund
    from domain.timestamps import rfc3339
    from workflows import search_attributes
    from workflows.committing import commit_next_version
    from workflows.findings import commit_claim
    from workflows.inquiry import InquiryProgress
    from workflows.postings import unknown_outcome_exception

Written = TypeVar("Written", Payout, Refund)
Posted = TypeVar("Posted", Payout, Refund, contravariant=True)


class PostingOf(Protocol[Posted]):
    """Builds the posting of an object's new version (`workflows/postings.py`)."""

    def __call__(
        self,
        posted: Posted,
        /,
        *,
        event: str | None = None,
        facts: tuple[Fact, ...] = (),
        attempts: tuple[Attempt, ...] = (),
        claim: KeyClaim | None = None,
        actor: str,
        extra: tuple[Record, ...] = (),
    ) -> Posting:
        """Return the commit of the new version."""


class OrderWriter(Generic[Written]):
    """An object with one order at a time, and the turn that commits take on it.

    `current`: its state as last committed, or before the first commit as it is to be.
    """

    def __init__(
        self, current: Written, posting: PostingOf[Written], *, open_statuses: frozenset[str], actor: str
    ) -> None:
        self.current: Written = current
        self._posting: PostingOf[Written] = posting
        self._open_statuses = open_statuses
        self._actor = actor
        self._exception: Record | None = None
        self._turn = asyncio.Lock()

    async def commit(
        self,
        following: Written,
        *,
        event: str | None = None,
        facts: tuple[Fact, ...] = (),
        attempts: tuple[Attempt, ...] = (),
        claim: KeyClaim | None = None,
        extra: tuple[Record, ...] = (),
    ) -> bool:
        """Commit the object's next version; True if an earlier run of this step had done so.

        An exception that people were asked to look at is resolved with the commit that is final.
        """
        following = replace(following, inquiries=trail_with(following.inquiries, *attempts))
        if self._exception is not None and following.status not in self._open_statuses:
            closed = replace(self._exception, version=2, document={**self._exception.document, "status": "resolved"})
            extra, self._exception = (*extra, closed), None
        async with self._turn:
            version, result = await commit_next_version(
                lambda version: self._posting(
                    replace(following, version=version),
                    event=event,
                    facts=facts,
                    attempts=attempts,
                    claim=claim,
                    actor=self._actor,
                    extra=extra,
                ),
                object_id=following.id,
                version=self.current.version,
                open_statuses=self._open_statuses,
            )
            assert result.refusal is None, result.refusal
            self.current = replace(following, version=version)
        workflow.upsert_search_attributes([search_attributes.STATUS.value_set(following.status.value)])
        return result.duplicate

    async def report(
        self, following: Written, progress: InquiryProgress, waiting: Attempt, *, first: bool, event: str | None
    ) -> None:
        """Commit that the rail is being asked, with what it was asked so far and when it is asked next.

        The `first` report writes the attempt and emits the event. Once the schedule is spent, an exception is opened.
        """
        await self.commit(
            replace(
                following,
                next_check_at=progress.next_check_at,
                inquiries=trail_with(following.inquiries, waiting),
            ),
            event=event if first else None,
            attempts=(waiting,) if first else (),
            extra=self._raise_exception(waiting) if progress.exhausted else (),
        )

    async def claim(self, claim: KeyClaim, actor: str) -> bool:
        """Commit the key of an update with the object as it is; True if the key belongs to something else."""
        async with self._turn:
            version = await commit_claim(
                lambda version: self._posting(replace(self.current, version=version), claim=claim, actor=actor),
                object_id=self.current.id,
                version=self.current.version,
                open_statuses=self._open_statuses,
            )
            if version is not None:
                self.current = replace(self.current, version=version)
        return version is None

    def _raise_exception(self, waiting: Attempt) -> tuple[Record, ...]:
        if self._exception is not None:
            return ()
        self._exception = unknown_outcome_exception(
            self.current.id,
            rail=waiting.rail,
            rail_key=waiting.rail_key,
            since=rfc3339(waiting.requested_at),
            status="open",
        )
        return (self._exception,)
