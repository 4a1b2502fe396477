"""Where an adapter keeps what it must not forget: a small durable store of its own, apart from the books.

The protocol only; the worker brings the one over PostgreSQL. A rail whose protocol has numbers that must never
repeat, or whose orders travel in files, writes them here before it calls.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Document = Mapping[str, Any]


class RailRecords(Protocol):
    """Documents and counters by rail. Every method is one transaction, durable when it returns.

    Documents are JSON and hold no card number.
    """

    async def add(self, rail: str, key: str, document: Document) -> Document:
        """Keep a document under a new key and return it; what the key holds already is returned instead."""
        ...

    async def find(self, rail: str, key: str) -> Document | None:
        """Return what a key holds."""
        ...

    async def replace(self, rail: str, key: str, document: Document) -> None:
        """Put another document in the place of the one a key holds.

        Raises:
            KeyError: the key holds nothing. Not retryable.
        """
        ...

    async def search(self, rail: str, matching: Document, *, limit: int = 100) -> Sequence[tuple[str, Document]]:
        """Return keys and documents, oldest first, whose documents hold every field of `matching`."""
        ...

    async def next_number(self, rail: str, series: str) -> int:
        """Return 1, 2, 3 and so on, never a number twice; one is lost if its caller dies."""
        ...
