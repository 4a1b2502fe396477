"""Changing an object whose workflow runs: a Temporal update under the request's idempotency key.

The update's id is the key, so a repeat finds the first one's result; the key's row says for ever
which request it was.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from api.context import Core
from api.errors import RETRY_AFTER_SECONDS, Problem, not_found
from api.idempotency import ClaimedKey, KeyedRequest, check_same_request, claimed_key, key_statement
from api.objects import first_document, is_identifier, one_statement
from api.rendering import Document, json_answer, operation_answer, ordered
from workflows.update_answer import UpdateAnswer

_log = logging.getLogger(__name__)

UpdateMethod = UpdateMethodMultiParam[[Any, Any], Any]
"""An update of a workflow: takes the workflow and one argument."""

_STATE_CODES = {
    "charge": {
        "settled": "charge_already_captured",
        "captured": "charge_already_captured",
        "voided": "charge_voided",
        "declined": "charge_declined",
        "expired": "authorization_expired",
    },
    "dispute": {"won": "dispute_closed", "lost": "dispute_closed", "warning_closed": "dispute_closed"},
    "transfer": {
        "settled": "transfer_already_settled",
        "voided": "transfer_voided",
        "expired": "transfer_expired",
        "failed": "transfer_failed",
    },
}
_INSTEAD = {("charge", "void", "captured"): "use_refund", ("charge", "void", "settled"): "use_refund"} | {
    ("transfer", "void", "settled"): "use_reverse"
}
"""What to do instead, by kind, verb and status."""


ANSWER_LOST = frozenset(
    {
        RPCStatusCode.ABORTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
    }
)
"""After these nobody knows whether Temporal took the update: a 503 would promise that it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectUpdate:
    """An update of an object's workflow on behalf of a keyed request.

    `claims_outcome`: the key commits together with what the update does, not before it, so a claimed key
    means that it was done.
    """

    kind: str
    object_id: str
    verb: str
    method: UpdateMethod
    argument: Any
    asked: KeyedRequest
    claims_outcome: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateEnd:
    """How an update ended: with an answer, not yet (`waiting`), or because the run was over."""

    answer: UpdateAnswer | None = None
    waiting: bool = False


async def update_object(core: Core, update: ObjectUpdate) -> Response:
    """Run the update and answer with the object as it stands after it.

    Raises:
        Problem: 404 no such object, 409 its state does not allow this, 422 the key belongs to
            another request: not retryable. 503: retryable with the same key.
    """
    if not is_identifier(update.object_id):
        raise not_found(update.kind)
    claimed, document = await _look(core, update)
    # A repeat asks the workflow again under the same update id: it gives its first answer again.
    end = await run_update(core, document["workflow_id"], update.method, update.argument, update_id=update.asked.key)
    return await _answer(core, update, end, replayed=claimed is not None)


async def run_update(core: Core, workflow_id: str, method: UpdateMethod, argument: Any, *, update_id: str) -> UpdateEnd:
    """Return what the workflow answers within the sync budget. Idempotent on the update's id.

    Raises:
        RPCError: Temporal refused it; nothing was done. Retryable.
    """
    handle = core.services.temporal.get_workflow_handle(workflow_id)
    try:
        async with asyncio.timeout(core.services.sync_budget_seconds):
            answer: UpdateAnswer = await handle.execute_update(method, argument, id=update_id)
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return UpdateEnd(waiting=True)
    except WorkflowUpdateFailedError as error:
        # The run ended before it took the update: the object's state tells the rest.
        _log.info("%s did not take its update: %s", workflow_id, type(error.cause).__name__)
        return UpdateEnd()
    except RPCError as error:
        if error.status in ANSWER_LOST:
            # It may have got there: whether it did, the object's state and a repeat with the same key will tell.
            _log.warning("an update of %s was not answered: %s", workflow_id, error.status.name)
            return UpdateEnd(waiting=True)
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return UpdateEnd()
    return UpdateEnd(answer=answer)


async def _look(core: Core, update: ObjectUpdate) -> tuple[ClaimedKey | None, Document]:
    """Return the key's claim, which must be this request's, and the object."""
    keys, rows = await core.reads.rows(
        update.asked.merchant.scope, key_statement(update.asked), one_statement(update.kind, update.object_id)
    )
    claimed = claimed_key(keys)
    if claimed is not None:
        check_same_request(update.asked, claimed)
    return claimed, first_document(update.kind, rows)


async def _answer(core: Core, update: ObjectUpdate, end: UpdateEnd, *, replayed: bool) -> Response:
    # Two requests that differ but share a key share the update; only the one in the row was run, and
    # looking again refuses the other.
    claimed, document = await _look(core, update)
    conflict = end.answer if end.answer is not None and end.answer.conflict_code is not None else None
    over = end.answer is None and not end.waiting
    done = update.claims_outcome and claimed is not None
    if not done and (conflict is not None or (over and claimed is None)):
        raise state_conflict(document, update.verb, conflict)
    core.metrics.count_operation(document, replayed=replayed)
    if end.waiting and not done:
        return json_answer(document, 202, {"Retry-After": RETRY_AFTER_SECONDS})
    return operation_answer(document, replayed=replayed, success=200)


def state_conflict(document: Document, verb: str, conflict: UpdateAnswer | None) -> Problem:
    """Return the 409 of a request that the object's state does not allow."""
    kind, status = document["object"], document["status"]
    generic = f"{kind}_state_conflict"
    code = conflict.conflict_code if conflict is not None else None
    detail = conflict.conflict_detail if conflict is not None else None
    if code is None or code == generic:
        code = _INSTEAD.get((kind, verb, status)) or _STATE_CODES[kind].get(status, generic)
    members: Document = {kind: ordered(document)}
    if conflict is not None and conflict.remaining_minor is not None:
        members = {"remaining": conflict.remaining_minor, **members}
    return Problem(409, code, detail or f"The {kind} is {status}; this cannot be done to it any more.", members=members)
