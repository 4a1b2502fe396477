"""One instance for all end-to-end tests, and who talks to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import LedgerlineInstance, running_instance
from tests.e2e.shop import Shop, World


@pytest.fixture(scope="session")
def instance(scratch: Path) -> Iterator[LedgerlineInstance]:
    """A whole running instance, shared: tests use their own accounts and keys."""
    with running_instance(scratch / "e2e-home") as running:
        yield running


@pytest.fixture
def shop(instance: LedgerlineInstance) -> Iterator[Shop]:
    """The sandbox merchant."""
    client = Shop(instance.sandbox["api_url"], instance.sandbox["test_key"])
    yield client
    client.close()


@pytest.fixture
def admin(instance: LedgerlineInstance) -> Iterator[Shop]:
    """Whoever holds the admin key."""
    client = Shop(instance.sandbox["api_url"], instance.sandbox["admin_key"])
    yield client
    client.close()


@pytest.fixture
def world(instance: LedgerlineInstance) -> Iterator[World]:
    """The rails."""
    rails = World(instance.sandbox["rails_url"])
    yield rails
    rails.heal()
    rails.close()
