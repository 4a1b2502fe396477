"""Merchants with webhook endpoints: the API, a background worker on a real Temporal server, receivers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Shop, World, real_world, shop, world
from tests.events.delivering import delivering
from tests.events.receiver import Receiver
from tests.ledger.postings import World as Merchant

__all__ = ["real_world", "shop", "world"]


@dataclass
class Delivery:
    """A merchant whose events are delivered."""

    world: World
    shop: Shop

    async def endpoint(self, url: str, **terms: Any) -> dict[str, Any]:
        """A new endpoint, with its secret."""
        answer = await self.shop.post("/webhook_endpoints", {"url": url, **terms})
        assert answer.status_code == 201, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def happen(self, count: int, prefix: str = "ch") -> None:
        """Commit this many state changes, each with its event."""
        merchant = Merchant(merchant_id=self.shop.merchant_id)
        charges = [merchant.charge(f"{prefix}_{self.shop.merchant_id}_{n}") for n in range(count)]
        await asyncio.gather(
            *(
                self.world.services.book.post(
                    merchant.posting(key=f"{one.id}:1", records=(one,), events=(merchant.event(one),))
                )
                for one in charges
            )
        )

    async def last_sequence(self) -> int:
        """How many events there are."""
        events, after = [], 0
        while page := (await self.shop.get("/events", after=after, limit=100))["data"]:
            events += page
            after = page[-1]["sequence"]
        return len(events)


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """Wait for a condition, and fail when it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A merchant's server."""
    async with Receiver() as opened:
        yield opened


@pytest.fixture
async def delivery(world: World, shop: Shop, database: Any, temporal: Any, tmp_path: Path) -> AsyncIterator[Delivery]:
    """A merchant, and a worker that delivers; endpoints get 1.5 seconds to answer."""
    async with delivering(database.app_url, temporal.address, tmp_path):
        yield Delivery(world, shop)
