"""Ending an unknown outcome by a person's finding, whatever object waits for it."""

from typing import Any

from api.context import Core
from api.errors import Problem
from api.idempotency import KeyedRequest, check_same_request, find_key
from api.objects import read_object
from api.rendering import ordered
from api.updating import UpdateMethod, run_update, state_conflict
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import ResolveCharge
from workflows.findings import ResolveOrder
from workflows.payout import PayoutWorkflow
from workflows.refund import RefundWorkflow

_UPDATES: dict[str, tuple[UpdateMethod, type[Any]]] = {
    "charge": (ChargeWorkflow.resolve, ResolveCharge),
    "refund": (RefundWorkflow.resolve, ResolveOrder),
    "payout": (PayoutWorkflow.resolve, ResolveOrder),
}


async def resolve_outcome(
    core: Core, asked: KeyedRequest, kind: str, object_id: str, *, outcome: str, evidence: str
) -> None:
    """Tell the object's workflow what a person found. Idempotent on the request's key.

    Raises:
        Problem: 409, its outcome is known by now, or nothing of its kind is ever unknown; 422, the key belongs to
            another request. Not retryable.
    """
    if kind not in _UPDATES:
        raise Problem(409, "exception_not_resolvable", "Only charges, refunds and payouts have unknown outcomes.")
    update, message = _UPDATES[kind]
    document = await read_object(core.reads, asked.merchant.scope, kind, object_id)
    finding = message(outcome=outcome, actor=asked.merchant.actor, note=evidence, claim=asked.claim(kind, object_id))
    end = await run_update(core, document["workflow_id"], update, finding, update_id=asked.key)
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
    conflict = end.answer if end.answer is not None and end.answer.conflict_code is not None else None
    if conflict is not None or (end.answer is None and not end.waiting):
        document = await read_object(core.reads, asked.merchant.scope, kind, object_id)
        raise state_conflict(ordered(document), "resolve", conflict)
