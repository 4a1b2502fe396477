"""A place to keep records for adapters on the bench: `rails.records.RailRecords` in memory."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


class KeptRecords:
    """Outlives the adapters of a test, as the table outlives a worker."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], str] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    async def add(self, rail: str, key: str, document: Document) -> Document:
        kept: Document = json.loads(self._documents.setdefault((rail, key), json.dumps(dict(document))))
        return kept

    async def find(self, rail: str, key: str) -> Document | None:
        text = self._documents.get((rail, key))
        return None if text is None else json.loads(text)

    async def replace(self, rail: str, key: str, document: Document) -> None:
        if (rail, key) not in self._documents:
            raise KeyError(key)
        self._documents[rail, key] = json.dumps(dict(document))

    async def search(self, rail: str, matching: Document, *, limit: int = 100) -> Sequence[tuple[str, Document]]:
        found = [(key, json.loads(text)) for (of, key), text in self._documents.items() if of == rail]
        return [(key, one) for key, one in found if matching.items() <= one.items()][:limit]

    async def next_number(self, rail: str, series: str) -> int:
        self._numbers[rail, series] = self._numbers.get((rail, series), 0) + 1
        return self._numbers[rail, series]
