"""Giving an orphan back by an operator's order, after its rail had refused it (semantics rule 10)."""

from api.context import Core
from api.errors import Problem
from api.rendering import Document
from api.updating import UpdateEnd, run_update
from workflows.orphan import OrphanWorkflow, VoidOrphan


async def void_orphan(core: Core, exception: Document, order: VoidOrphan) -> UpdateEnd:
    """Try once more to give an orphan back. Idempotent on the claim's key.

    `exception` is the orphan's document. The caller checks who may ask, and the key's claim afterwards.

    Raises:
        Problem: 409, the exception is no orphan. Not retryable.
        RPCError: Temporal cannot be reached. Retryable.
    """
    if exception["kind"] != "orphan":
        raise Problem(409, "exception_not_an_orphan", "Only what a rail did after all can be given back to it.")
    update = OrphanWorkflow.void_orphan
    return await run_update(core, exception["workflow_id"], update, order, update_id=order.claim.key)
