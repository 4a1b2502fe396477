"""Starting the one workflow of a key and answering with its outcome, however often it is asked for.

In one process all requests with the same key and fingerprint share one *flight*: one start, one wait,
one answer. Across processes Temporal's workflow id and the key's row in PostgreSQL do the same.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from api.errors import is_database_outage, temporarily_unavailable
from api.idempotency import ClaimedKey, KeyedRequest, check_same_request, find_key, key_in_use
from api.reading import Reads
from api.rendering import Document
from api.services import Services
from api.start_fence import StartFate, settle_start
from domain.outcomes import is_outcome
from workflows import search_attributes
from workflows.policies import PAYMENTS_QUEUE

POLL_FIRST_SECONDS = 0.25
POLL_MOST_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A workflow to start for a keyed request.

    `initial` is the object as it stands before anything ran: the answer if nothing is known by the
    end of the budget. `summary` is a line for the Temporal UI, without personal data.
    """

    asked: KeyedRequest
    workflow: Callable[..., Awaitable[Any]]
    argument: Any
    initial: Document
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """What came of a flight: the object's state, and whether an earlier request had made it."""

    document: Document
    replayed: bool


@dataclass(slots=True)
class Flights:
    """Requests in flight in this process, by workflow id. One event loop only."""

    services: Services
    reads: Reads
    _flying: "dict[str, tuple[str, asyncio.Task[Landing]]]" = field(default_factory=dict)

    async def land(self, start: Start) -> Landing:
        """Start the request's workflow, or join whoever did, and return its outcome.

        A first request that is still running at the end of the sync budget lands with what is known
        (`processing`); a repeat of it is refused with 409.

        Raises:
            Problem: 422 the key belongs to another request, not retryable; 409 the first request is
                still running, 503 nothing could be started: both retryable with the same key.
        """
        asked = start.asked
        joined = self._flying.get(asked.workflow_id)
        if joined is None:
            return await asyncio.shield(self._depart(start))
        fingerprint, flight = joined
        if fingerprint != asked.fingerprint:
            # Not the same request as the one in flight; whether the key is ours the books will tell.
            return await Flight(self, start).run()
        landing = await asyncio.shield(flight)
        if not is_outcome(landing.document):
            raise key_in_use(landing.document["id"])
        return Landing(document=landing.document, replayed=True)

    def _depart(self, start: Start) -> "asyncio.Task[Landing]":
        # A task of its own: a client that hangs up must not take the others' answer with it.
        workflow_id = start.asked.workflow_id
        task = asyncio.get_running_loop().create_task(Flight(self, start).run())
        self._flying[workflow_id] = (start.asked.fingerprint, task)

        def landed(done: "asyncio.Task[Landing]") -> None:
            del self._flying[workflow_id]
            if not done.cancelled():
                done.exception()  # Whoever still waits raises it; nobody left is no reason for a warning.

        task.add_done_callback(landed)
        return task


class Flight:
    """One start and one wait within the sync budget."""

    def __init__(self, flights: Flights, start: Start) -> None:
        self._services = flights.services
        self._reads = flights.reads
        self._start = start
        self._asked = start.asked
        self._deadline = time.monotonic() + flights.services.sync_budget_seconds

    async def run(self) -> Landing:
        """Start the workflow and return what it announced, or attach to the one that holds the key."""
        board, workflow_id = self._services.board, self._asked.workflow_id
        # Expected before the start: an eager workflow may announce before start_workflow returns.
        outcome = board.expect(workflow_id)
        try:
            if not await self._start_workflow():
                return await self._attach(outcome)
            document = await self._own_outcome(outcome)
        finally:
            board.forget(workflow_id, outcome)
        if document.get("object") == "superseded":
            return await self._attach(None)
        return Landing(document=document, replayed=False)

    async def _start_workflow(self) -> bool:
        """Start the workflow; False if one with this id exists or existed."""
        start, asked = self._start, self._asked
        try:
            async with asyncio.timeout(self._services.start_timeout_seconds):
                await self._services.temporal.start_workflow(
                    start.workflow,
                    start.argument,
                    id=asked.workflow_id,
                    task_queue=PAYMENTS_QUEUE,
                    # Runs fail only where their start was given up; an id whose run did something is used for ever.
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    search_attributes=attributes(asked.merchant.merchant_id, start.initial),
                    static_summary=start.summary,
                    request_eager_start=True,
                    rpc_timeout=timedelta(seconds=self._services.start_timeout_seconds),
                )
        except WorkflowAlreadyStartedError:
            return False
        except (RPCError, TimeoutError) as error:
            # What the books already know can be answered without Temporal.
            claimed = await find_key(self._reads, asked)
            if claimed is not None:
                return bool(claimed.object_id == start.initial["id"])
            await self._give_up(error)
        return True

    async def _give_up(self, error: Exception) -> None:
        """Make sure that a start without an answer comes to nothing; return if it runs, or may.

        Raises:
            Problem: 503, nothing happened and nothing will. Retryable with the same key.
        """
        asked, object_id = self._asked, self._start.initial["id"]
        fate = await settle_start(
            self._services.book, asked.merchant, object_id, budget_seconds=self._deadline - time.monotonic()
        )
        _log.warning("start of %s not answered (%s): %s %s", asked.workflow_id, type(error).__name__, object_id, fate)
        if fate is StartFate.NEVER:
            raise temporarily_unavailable(
                "The workflow service cannot be reached right now. Nothing was done. Retry with the same key."
            ) from error

    async def _own_outcome(self, outcome: "asyncio.Future[Document]") -> Document:
        """Wait for this request's own outcome; its initial state if there is none in time."""
        latest = self._start.initial

        async def look() -> Document | None:
            nonlocal latest
            claimed = await find_key(self._reads, self._asked)
            if claimed is None:
                return None
            if claimed.object_id != self._start.initial["id"]:
                return {"object": "superseded", "key_taken_by": claimed.object_id}
            latest = claimed.document or latest
            return latest if is_outcome(latest) else None

        return await self._wait(outcome, look) or latest

    async def _attach(self, outcome: "asyncio.Future[Document] | None") -> Landing:
        """Answer with the state of the object that holds the key.

        Raises:
            Problem: 422 another request holds it, not retryable; 409 it is still running, retryable.
        """
        claimed = await find_key(self._reads, self._asked)

        async def look() -> Document | None:
            nonlocal claimed
            claimed = await find_key(self._reads, self._asked)
            return finished(self._asked, claimed)

        document = finished(self._asked, claimed) or await self._wait(outcome, look)
        if document is not None and document.get("object") == "superseded":
            document = finished(self._asked, await find_key(self._reads, self._asked))
        if document is None:
            raise key_in_use(claimed.object_id if claimed else None)
        if claimed is None:
            # Announced before we read: whose request it was is in the row that committed with it.
            claimed = await find_key(self._reads, self._asked)
            if claimed is not None:
                check_same_request(self._asked, claimed)
        return Landing(document=document, replayed=True)

    async def _wait(
        self, outcome: "asyncio.Future[Document] | None", look: Callable[[], Awaitable[Document | None]]
    ) -> Document | None:
        """Return the announced outcome, or what `look` finds; None at the end of the budget.

        The database is looked at in case the commit happens in another process.
        """
        pause = POLL_FIRST_SECONDS
        while (left := self._deadline - time.monotonic()) > 0:
            if outcome is None:
                await asyncio.sleep(min(pause, left))
            elif (await asyncio.wait({outcome}, timeout=min(pause, left)))[0]:
                return outcome.result()
            try:
                found = await look()
            except Exception as error:
                # The workflow is running: an outage now is a reason to wait, not to answer 5xx.
                if not is_database_outage(error):
                    raise
                found = None
            if found is not None:
                return found
            pause = min(pause * 2, POLL_MOST_SECONDS)
        return None


def finished(asked: KeyedRequest, claimed: ClaimedKey | None) -> Document | None:
    """Return the object of a claimed key once it has something to say.

    Raises:
        Problem: 422, the key belongs to another request. Not retryable.
    """
    if claimed is None:
        return None
    check_same_request(asked, claimed)
    document = claimed.document
    return document if document is not None and is_outcome(document) else None


def attributes(merchant_id: str, initial: Document) -> TypedSearchAttributes:
    """Return what the Temporal UI can list this run by."""
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(search_attributes.MERCHANT, merchant_id),
        SearchAttributePair(search_attributes.KIND, initial["object"]),
        SearchAttributePair(search_attributes.STATUS, initial["status"]),
        SearchAttributePair(search_attributes.CURRENCY, initial["currency"]),
        SearchAttributePair(search_attributes.AMOUNT_MINOR, initial["amount"]),
    ]
    return TypedSearchAttributes(pairs)
