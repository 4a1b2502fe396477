"""Changing a running charge: a Temporal update under the request's idempotency key.

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
from workflows.charge_messages import ChargeAnswer

_log = logging.getLogger(__name__)

UpdateMethod = UpdateMethodMultiParam[[Any, Any], Any]
"""An update of `ChargeWorkflow`: takes the workflow and one argument."""

_STATE_CODES = {
    "settled": "charge_already_captured",
    "captured": "charge_already_captured",
    "voided": "charge_voided",
    "declined": "charge_declined",
    "expired": "authorization_expired",
}


@dataclass(frozen=True, slots=True)
class ChargeUpdate:
    """An update of a charge's workflow on behalf of a keyed request."""

    charge_id: str
    verb: str
    method: UpdateMethod
    argument: Any
    asked: KeyedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateEnd:
    """How an update ended: with an answer, not yet (`waiting`), or because the run was over."""

    answer: ChargeAnswer | None = None
    waiting: bool = False


async def update_charge(core: Core, update: ChargeUpdate) -> Response:
    """Run the update and answer with the charge as it stands after it.

    Raises:
        Problem: 404 no such charge, 409 its state does not allow this, 422 the key belongs to
            another request: not retryable. 503: retryable with the same key.
    """
    if not is_identifier(update.charge_id):
        raise not_found("charge")
    claimed, charge = await _look(core, update)
    # A repeat asks the workflow again under the same update id: it gives its first answer again.
    end = await run_update(core, charge["workflow_id"], update.method, update.argument, update_id=update.asked.key)
    return await _answer(core, update, end, replayed=claimed is not None)


async def run_update(core: Core, workflow_id: str, method: UpdateMethod, argument: Any, *, update_id: str) -> UpdateEnd:
    """Return what the workflow answers within the sync budget. Idempotent on the update's id.

    Raises:
        RPCError: Temporal cannot be reached. Retryable.
    """
    handle = core.services.temporal.get_workflow_handle(workflow_id)
    try:
        async with asyncio.timeout(core.services.sync_budget_seconds):
            answer: ChargeAnswer = await handle.execute_update(method, argument, id=update_id)
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return UpdateEnd(waiting=True)
    except WorkflowUpdateFailedError as error:
        # The run ended before it took the update: the charge's state tells the rest.
        _log.info("%s did not take its update: %s", workflow_id, type(error.cause).__name__)
        return UpdateEnd()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return UpdateEnd()
    return UpdateEnd(answer=answer)


async def _look(core: Core, update: ChargeUpdate) -> tuple[ClaimedKey | None, Document]:
    """Return the key's claim, which must be this request's, and the charge."""
    keys, charges = await core.reads.rows(
        update.asked.merchant.scope, key_statement(update.asked), one_statement("charge", update.charge_id)
    )
    claimed = claimed_key(keys)
    if claimed is not None:
        check_same_request(update.asked, claimed)
    return claimed, first_document("charge", charges)


async def _answer(core: Core, update: ChargeUpdate, end: UpdateEnd, *, replayed: bool) -> Response:
    # Two requests that differ but share a key share the update; only the one in the row was run, and
    # looking again refuses the other.
    claimed, charge = await _look(core, update)
    conflict = end.answer if end.answer is not None and end.answer.conflict_code is not None else None
    over = end.answer is None and not end.waiting
    if conflict is not None or (over and claimed is None):
        raise state_conflict(charge, update.verb, conflict)
    core.metrics.count_operation(charge, replayed=replayed)
    if end.waiting:
        return json_answer(charge, 202, {"Retry-After": RETRY_AFTER_SECONDS})
    return operation_answer(charge, replayed=replayed, success=200)


def state_conflict(charge: Document, verb: str, conflict: ChargeAnswer | None) -> Problem:
    """Return the 409 of a request that the charge's state does not allow."""
    status = charge["status"]
    code = conflict.conflict_code if conflict is not None else None
    detail = conflict.conflict_detail if conflict is not None else None
    if code is None or code == "charge_state_conflict":
        code = _STATE_CODES.get(status, "charge_state_conflict")
        if verb == "void" and status in ("captured", "settled"):
            code = "use_refund"
    members: Document = {"charge": ordered(charge)}
    if conflict is not None and conflict.remaining_minor is not None:
        members = {"remaining": conflict.remaining_minor, **members}
    return Problem(409, code, detail or f"The charge is {status}; this cannot be done to it any more.", members=members)
