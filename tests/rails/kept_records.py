"""`rails.records.RailRecords` in memory, for benches without a database: the port's promises, nothing more."""

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


class KeptRecords:
    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], Document] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self.away = False

    async def add(self, rail: str, key: str, document: Document) -> Document:
        self._there()
        return self._documents.setdefault((rail, key), document)

    async def find(self, rail: str, key: str) -> Document | None:
        self._there()
        return self._documents.get((rail, key))

    async def replace(self, rail: str, key: str, document: Document) -> None:
        self._there()
        if (rail, key) not in self._documents:
            raise KeyError(key)
        self._documents[rail, key] = document

    async def search(self, rail: str, matching: Document, *, limit: int = 100) -> Sequence[tuple[str, Document]]:
        self._there()
        found = [
            (key, document)
            for (of, key), document in self._documents.items()
            if of == rail and matching.items() <= document.items()
        ]
        return found[:limit]

    async def next_number(self, rail: str, series: str) -> int:
        self._there()
        self._numbers[rail, series] = self._numbers.get((rail, series), 0) + 1
        return self._numbers[rail, series]

    def _there(self) -> None:
        if self.away:
            raise OSError("the database is away")
