"""Late answers of rails: an order that had ended without money took effect after all (semantics rule 10)."""

import logging
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.bodies import Amount, Currency, RailName, validate
from api.context import Core
from api.errors import Problem
from api.reading import EVERYTHING, Row, Statement
from api.rendering import Document, json_answer
from api.updating import UpdateEnd, run_update
from domain.identifiers import Mode
from domain.orphan import Orphan
from domain.rail import Flow, Outcome
from workflows import search_attributes
from workflows.orphan import OrphanWorkflow, StartOrphan, VoidOrphan
from workflows.policies import PAYMENTS_QUEUE

_log = logging.getLogger(__name__)

ENDED_WITHOUT = frozenset({Outcome.DECLINED.value, Outcome.NOT_ATTEMPTED.value})
_FIND_ORDER = (
    "SELECT a.document, a.merchant_id, a.mode, a.operation_id, c.document AS charge FROM attempts a"
    " LEFT JOIN charges c ON c.id = split_part(a.operation_id, '.', 1)"
    " WHERE a.id = %(rail_key)s AND a.rail = %(rail)s"
)


class OutcomeCallback(BaseModel):
    """What became of an order, told by the rail on its own. `effect_key`: its key of a second effect."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    type: Literal["order.outcome"]
    rail: RailName
    rail_key: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    effect_key: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")] | None = None
    outcome: Literal["approved", "declined"]
    amount: Amount
    currency: Currency


async def receive_outcome(core: Core, told: dict[str, Any]) -> Response:
    """Take a rail's late word about an order; what it contradicts becomes an orphan. Idempotent on the effect.

    Raises:
        Problem: 404, no order of ours has this key. Not retryable.
    """
    notice = validate(OutcomeCallback, told)
    row = await core.reads.first(EVERYTHING, Statement(_FIND_ORDER, {"rail_key": notice.rail_key, "rail": notice.rail}))
    if row is None:
        raise Problem(404, "rail_key_not_found", "No order of ours has this rail key.", param="rail_key")
    orphan = orphaned(row, notice)
    if orphan is None:
        # It says what the books say, or what the rail will be asked about anyway.
        return json_answer({"received": True, "exception": None})
    await _start(core, orphan)
    return json_answer({"received": True, "exception": orphan.id})


def orphaned(row: Row, notice: OutcomeCallback) -> Orphan | None:
    """Return the orphan that a notice amounts to; None when it contradicts nothing that has ended.

    An order still open is none: its own workflow asks the rail until it knows.
    """
    order, charge = row["document"], row["charge"]
    if notice.outcome != "approved" or charge is None or order["flow"] not in (Flow.AUTHORIZE, Flow.CAPTURE):
        return None
    second_effect = notice.effect_key not in (None, notice.rail_key)
    if not second_effect and order["outcome"] not in ENDED_WITHOUT:
        return None
    effect_key = notice.effect_key or notice.rail_key
    flow = Flow(order["flow"])
    return Orphan(
        merchant_id=row["merchant_id"],
        mode=Mode(row["mode"]),
        charge=charge["id"],
        rail=notice.rail,
        rail_key=notice.rail_key,
        effect_key=effect_key,
        flow=flow,
        taken=flow is Flow.CAPTURE or charge["capture"],
        amount_minor=notice.amount,
        currency=notice.currency,
        original_rail_key=_authorization_key(charge) if flow is Flow.CAPTURE else effect_key,
        created_at=datetime.now(UTC),
    )


def _authorization_key(charge: Document) -> str:
    number = next(attempt["number"] for attempt in charge["attempts"] if attempt["outcome"] == Outcome.APPROVED)
    return f"{charge['id']}:{number}"


async def _start(core: Core, orphan: Orphan) -> None:
    try:
        await core.services.temporal.start_workflow(
            OrphanWorkflow.run,
            StartOrphan(orphan=orphan, told_by_rail=True),
            id=orphan.workflow_id,
            task_queue=PAYMENTS_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=search_attributes.started_with(
                merchant_id=orphan.merchant_id,
                kind="orphan",
                status=orphan.status.value,
                currency=orphan.currency,
                amount_minor=orphan.amount_minor,
            ),
            static_summary=f"{orphan.rail} did {orphan.effect_key} after all",
        )
    except WorkflowAlreadyStartedError:
        return
    _log.warning("%s did %s of %s after all", orphan.rail, orphan.effect_key, orphan.charge)


async def void_orphan(core: Core, exception: Document, order: VoidOrphan) -> UpdateEnd:
    """Try once more to give an orphan back that its rail had refused to take. Idempotent on the claim's key.

    `exception` is the orphan's document. The caller checks who may ask, and the key's claim afterwards.

    Raises:
        Problem: 409, the exception is no orphan. Not retryable.
        RPCError: Temporal cannot be reached. Retryable.
    """
    if exception["kind"] != "orphan":
        raise Problem(409, "exception_not_an_orphan", "Only what a rail did after all can be given back to it.")
    update = OrphanWorkflow.void_orphan
    return await run_update(core, exception["workflow_id"], update, order, update_id=order.claim.key)
