"""What became of a start whose answer was lost: settled by whoever commits the object's first posting.

Every run's first commit has the key `{object}:1`. When Temporal fails in the middle of a start, nobody can say
whether the run exists or will. So the API commits a posting of that key itself, with nothing in it: if it is
the first, the run, should it come after all, is refused there and ends before any rail is asked; if the run was
the first, the API is refused and knows that it exists.
"""

import asyncio
from enum import StrEnum

from api.authentication import Merchant
from domain.book import BookWriter
from domain.ledger import AuditDraft, Posting, RefusalCode


class StartFate(StrEnum):
    """RUNS: it has begun. NEVER: it will not happen. UNKNOWN: the books could not be reached to tell."""

    RUNS = "runs"
    NEVER = "never"
    UNKNOWN = "unknown"


async def settle_start(book: BookWriter, merchant: Merchant, object_id: str, *, budget_seconds: float) -> StartFate:
    """Return what becomes of the run that was to make an object. Idempotent on the object's id."""
    fence = Posting(
        key=f"{object_id}:1",
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        audit=AuditDraft(actor=merchant.actor, action="start.abandoned", object_id=object_id),
    )
    try:
        async with asyncio.timeout(max(budget_seconds, 0.1)):
            result = await book.post(fence)
    except (ConnectionError, TimeoutError):
        return StartFate.UNKNOWN
    if result.refusal is None:
        return StartFate.NEVER
    assert result.refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, result.refusal
    return StartFate.RUNS
