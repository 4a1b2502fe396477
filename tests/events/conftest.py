"""Merchants with webhook endpoints: the API, a background worker on a real Temporal server, receivers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.codec import data_converter, open_codec
from activities.webhook_secrets import CustodianWrapper
from activities.webhooks import WebhookActivities
from domain.identifiers import Mode
from events.deliveries import DeliveryBook
from events.sealing import SecretSealer
from events.sending import Sender
from operations.waking import waking
from tests.api.conftest import Shop, World, real_world, shop, world
from tests.events.receiver import Receiver
from tests.ledger.postings import World as Merchant
from vault.custodian import FileCustodian
from workflows.policies import BACKGROUND_QUEUE
from workflows.webhook_delivery import WebhookDeliveryWorkflow

__all__ = ["real_world", "shop", "world"]


@dataclass
class Delivery:
    """A merchant whose events are delivered."""

    world: World
    shop: Shop
    client: Client
    pool: Any

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
    codec = open_codec(tmp_path / "codec_keys.json")
    client = await Client.connect(temporal.address, data_converter=data_converter(codec))
    sealer = SecretSealer(CustodianWrapper(FileCustodian(tmp_path / "webhook_keys.json")))
    pool: Any = AsyncConnectionPool(database.app_url, min_size=1, max_size=6, kwargs={"autocommit": True}, open=False)
    await pool.open()
    senders = {mode: Sender(mode, response_seconds_max=1.5) for mode in Mode}
    activities = WebhookActivities(
        pool=pool, book=world.services.book, deliveries=DeliveryBook(pool, sealer), senders=senders
    )
    worker = Worker(
        client,
        task_queue=BACKGROUND_QUEUE,
        workflows=[WebhookDeliveryWorkflow],
        activities=[activities.deliver_webhooks],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker, waking(client, pool):
        yield Delivery(world, shop, client, pool)
    for sender in senders.values():
        await sender.aclose()
    await pool.close()
