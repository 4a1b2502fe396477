"""Starting what happens once for ever because somebody outside said so: a rail's notice, a settlement."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.context import Core
from api.rendering import Document
from api.starting import attributes
from workflows.policies import PAYMENTS_QUEUE

_log = logging.getLogger(__name__)


async def start_once(
    core: Core,
    run: Callable[..., Awaitable[Any]],
    argument: Any,
    *,
    run_id: str,
    merchant_id: str,
    shown: Document,
    summary: str,
) -> bool:
    """Start a run that may exist once; False if it had been started before.

    `shown` is what the Temporal UI lists it by: object, status, currency, amount.

    Raises:
        RPCError: Temporal cannot be reached. Retryable.
    """
    try:
        await core.services.temporal.start_workflow(
            run,
            argument,
            id=run_id,
            task_queue=PAYMENTS_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=attributes(merchant_id, shown),
            static_summary=summary,
        )
    except WorkflowAlreadyStartedError:
        return False
    _log.info("started %s: %s", run_id, summary)
    return True
