"""Starting what happens once for ever because somebody outside said so: a rail's notice, a settlement."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from workflows import search_attributes
from workflows.policies import PAYMENTS_QUEUE

_log = logging.getLogger(__name__)


async def start_once(
    temporal: Client,
    run: Callable[..., Awaitable[Any]],
    argument: Any,
    *,
    run_id: str,
    merchant_id: str,
    shown: dict[str, Any],
    summary: str,
    task_queue: str = PAYMENTS_QUEUE,
) -> bool:
    """Start a run that may exist once; False if it had been started before.

    `shown` is what the Temporal UI lists it by: object, status, currency, amount.

    Raises:
        RPCError: Temporal cannot be reached. Retryable.
    """
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(search_attributes.MERCHANT, merchant_id),
        SearchAttributePair(search_attributes.KIND, shown["object"]),
        SearchAttributePair(search_attributes.STATUS, shown["status"]),
        SearchAttributePair(search_attributes.CURRENCY, shown["currency"]),
        SearchAttributePair(search_attributes.AMOUNT_MINOR, shown["amount"]),
    ]
    try:
        await temporal.start_workflow(
            run,
            argument,
            id=run_id,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=TypedSearchAttributes(pairs),
            static_summary=summary,
        )
    except WorkflowAlreadyStartedError:
        return False
    _log.info("started %s: %s", run_id, summary)
    return True
