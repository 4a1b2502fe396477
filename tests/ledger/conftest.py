"""The ledger's surroundings: posters as the worker's role, connections as each role."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from ledger.posting import Poster
from tests.conftest import TestDatabase


@pytest.fixture
async def poster(database: TestDatabase) -> AsyncIterator[Poster]:
    """A poster that decides all at once where it can."""
    made = Poster(database.app_url)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(params=["at once", "in turn"])
async def either_poster(database: TestDatabase, request: pytest.FixtureRequest) -> AsyncIterator[Poster]:
    """A poster of either way of deciding: both must answer the same."""
    made = Poster(database.app_url, in_turn=request.param == "in turn")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def reader(database: TestDatabase) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection as the worker's role, which sees everything."""
    async with await psycopg.AsyncConnection.connect(database.app_url, autocommit=True) as connection:
        yield connection
