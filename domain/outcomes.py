"""The board on which commits are announced inside one process, so the API can answer at commit.

Nothing here is durable: whoever waits also looks in the database (the commit may happen in another
process, or may have happened before the wait began).
"""

import asyncio
from typing import Any

Document = dict[str, Any]


def is_outcome(document: Document) -> bool:
    """Tell whether a document is worth answering a waiting client with.

    `processing` is not, unless the rail took the order and is asked again later (`next_check_at`).
    """
    return document.get("status") != "processing" or document.get("next_check_at") is not None


class OutcomeBoard:
    """Futures of waiters by workflow id. One event loop only."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Future[Document]]] = {}

    def expect(self, workflow_id: str) -> "asyncio.Future[Document]":
        """Return a future of the next outcome of a workflow; call `forget` when done with it."""
        future: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(workflow_id, set()).add(future)
        return future

    def forget(self, workflow_id: str, future: "asyncio.Future[Document]") -> None:
        """Stop waiting. Harmless when the future is already done."""
        waiters = self._waiters.get(workflow_id)
        if waiters is not None:
            waiters.discard(future)
            if not waiters:
                del self._waiters[workflow_id]

    def announce(self, workflow_id: str, document: Document) -> None:
        """Wake everyone who waits for this workflow with the document just committed."""
        for future in self._waiters.pop(workflow_id, set()):
            if not future.done():
                future.set_result(document)
