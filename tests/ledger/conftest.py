"""The ledger's surroundings: posters as the worker's role, connections as each role."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from ledger.posting import Poster
from tests.conftest import TestDatabase


@pytest.fixture
async def poster(database: TestDatabase) -> AsyncIterator[Poster]:
    """A poster."""
    made = Poster(database.app_url)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def reader(database: TestDatabase) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection as the worker's role, which sees everything."""
    async with await psycopg.AsyncConnection.connect(database.app_url, autocommit=True) as connection:
        yield connection
