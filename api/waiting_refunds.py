"""Waking refunds that wait for funds, when an account was credited through this API."""

import logging

from api.authentication import Merchant
from api.context import Core
from api.reading import Statement
from workflows.refund import RefundWorkflow

_log = logging.getLogger(__name__)
_WAITING = (
    "SELECT r.document ->> 'workflow_id' AS workflow_id FROM refunds r WHERE r.status = 'pending'"
    " AND r.document ->> 'pending_reason' = 'awaiting_funds' AND r.document ->> 'account' = %(account)s"
    " ORDER BY r.id LIMIT 20"
)


async def wake_refunds(core: Core, merchant: Merchant, account: str) -> None:
    """Tell the account's waiting refunds that there may be enough now, the oldest first.

    Never fails: whoever is not told finds out by its own clock.
    """
    try:
        (rows,) = await core.reads.rows(merchant.scope, Statement(_WAITING, {"account": account}))
        for row in rows:
            handle = core.services.temporal.get_workflow_handle(row["workflow_id"])
            await handle.signal(RefundWorkflow.funds_arrived)
    except Exception as error:
        # A hint, not a duty: the transfer is done and must be answered for.
        _log.info("refunds waiting for %s not told: %s", account, type(error).__name__)
