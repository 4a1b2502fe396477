"""Changing a running charge: a Temporal update under the request's idempotency key.

The update's id is the key, so a repeat finds the first one's result; the key's row says for ever
which request it was.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.responses import Response
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from api.context import Core
from api.errors import Problem, not_found
from api.idempotency import KeyedRequest, check_same_request, claimed_key, find_key, key_statement
from api.objects import first_document, is_identifier, one_statement, read_object
from api.rendering import Document, operation_answer, ordered
from workflows.charge_messages import ChargeAnswer

log = structlog.get_logger(__name__)

_SETTLED_CODES = {
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
    method: Callable[..., Any]
    argument: Any
    asked: KeyedRequest


async def update_charge(core: Core, update: ChargeUpdate) -> Response:
    """Run the update and answer with the charge as it stands after it.

    Raises:
        Problem: 404 no such charge, 409 its state does not allow this, 422 the key belongs to
            another request: not retryable. 503: retryable with the same key.
    """
    asked = update.asked
    if not is_identifier(update.charge_id):
        raise not_found("charge")
    keys, charges = await core.reads.rows(
        asked.merchant.scope, key_statement(asked), one_statement("charge", update.charge_id)
    )
    claimed = claimed_key(keys)
    if claimed is not None:
        check_same_request(asked, claimed)
    charge = first_document("charge", charges)
    if claimed is not None and charge["status"] != "processing":
        core.metrics.count_operation(charge, replayed=True)
        return operation_answer(charge, replayed=True, success=200)
    answer = await run_update(core, charge["workflow_id"], update.method, update.argument, update_id=asked.key)
    return await _answer(core, update, answer)


async def run_update(
    core: Core, workflow_id: str, method: Callable[..., Any], argument: Any, *, update_id: str | None
) -> ChargeAnswer | None:
    """Return the workflow's answer; None if it is over or has not answered within the sync budget."""
    handle = core.services.temporal.get_workflow_handle(workflow_id)
    try:
        async with asyncio.timeout(core.services.sync_budget_seconds):
            answer: ChargeAnswer = await handle.execute_update(
                method, argument, id=update_id, result_type=ChargeAnswer
            )
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return None
    except WorkflowUpdateFailedError as error:
        # The run ended before it took the update: its state tells the rest.
        log.info("update_not_taken", workflow_id=workflow_id, cause=str(error.cause))
        return None
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None
    return answer


async def _answer(core: Core, update: ChargeUpdate, answer: ChargeAnswer | None) -> Response:
    asked = update.asked
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        # Two requests that differ but share a key share the update; only the one in the row was run.
        check_same_request(asked, claimed)
    charge = await read_object(core.reads, asked.merchant.scope, "charge", update.charge_id)
    if answer is not None and answer.conflict_code is not None:
        raise state_conflict(charge, answer.conflict_code, answer.conflict_detail, answer.remaining_minor)
    if claimed is None:
        raise state_conflict(charge, None, None, None)
    if answer is None and charge["status"] in ("authorized", "requires_action"):
        charge = {**charge, "status": "processing"}
    core.metrics.count_operation(charge, replayed=False)
    return operation_answer(charge, replayed=False, success=200)


def state_conflict(charge: Document, code: str | None, detail: str | None, remaining_minor: int | None) -> Problem:
    """Return the 409 of a request that the charge's state does not allow."""
    status = charge["status"]
    if code is None or code == "charge_state_conflict":
        code = _SETTLED_CODES.get(status, "charge_state_conflict")
    members: Document = {"charge": ordered(charge)}
    if remaining_minor is not None:
        members = {"remaining": remaining_minor, **members}
    return Problem(409, code, detail or f"The charge is {status}; this cannot be done to it any more.", members=members)
