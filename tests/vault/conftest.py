"""The vault's surroundings: a pool as the worker's role, and the real poster with a signer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from psycopg_pool import AsyncConnectionPool

from audit.signing import AuditSigner
from ledger.posting import Poster
from tests.conftest import TestDatabase


@pytest.fixture
async def pool(database: TestDatabase) -> AsyncIterator[AsyncConnectionPool]:
    """Connections as `ledgerline_app`."""
    async with AsyncConnectionPool(database.app_url, min_size=1, max_size=4, open=False) as connections:
        yield connections


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> AuditSigner:
    """The one signer of a module's database."""
    folder: Path = tmp_path_factory.mktemp("audit")
    return AuditSigner.open(folder / "audit.key")


@pytest.fixture
async def book(database: TestDatabase, signer: AuditSigner) -> AsyncIterator[Poster]:
    """The real poster."""
    poster = Poster(database.app_url, sign=signer.sign)
    await poster.start()
    yield poster
    await poster.stop()
