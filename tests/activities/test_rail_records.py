"""What adapters keep: first one stands, numbers never repeat."""

import asyncio

import pytest
from psycopg_pool import AsyncConnectionPool

from activities.rail_records import StoredRailRecords
from tests.conftest import TestDatabase


async def test_documents_and_numbers_of_a_rail(database: TestDatabase) -> None:
    async with AsyncConnectionPool(database.app_url, kwargs={"autocommit": True}, max_size=4, open=False) as pool:
        records = StoredRailRecords(pool)
        assert await records.find("one", "po_1:1") is None
        added = await asyncio.gather(*(records.add("one", "po_1:1", {"stan": n, "state": "sent"}) for n in range(8)))
        first = added[0]
        assert all(document == first for document in added)
        assert await records.add("two", "po_1:1", {"stan": 99}) == {"stan": 99}
        assert await records.search("one", {"state": "sent"}) == [("po_1:1", first)]
        await records.replace("one", "po_1:1", {**first, "state": "done"})
        assert await records.search("one", {"state": "sent"}) == []
        assert await records.find("one", "po_1:1") == {**first, "state": "done"}
        with pytest.raises(KeyError):
            await records.replace("one", "po_2:1", {})
        numbers = await asyncio.gather(*(records.next_number("one", "stan/2026-11-26") for _ in range(40)))
        assert sorted(numbers) == list(range(1, 41))
        assert await records.next_number("one", "stan/2026-11-27") == 1
