"""A background worker that delivers webhooks and nothing else; also as a process of its own, to be killed.

`python -m tests.events.delivering DATABASE_URL TEMPORAL_ADDRESS FOLDER`
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

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
from ledger.posting import Poster
from operations.waking import waking
from vault.custodian import FileCustodian
from workflows.policies import BACKGROUND_QUEUE
from workflows.webhook_delivery import WebhookDeliveryWorkflow

RESPONSE_SECONDS_MAX = 1.5


@asynccontextmanager
async def open_pool(app_url: str) -> AsyncIterator[Any]:
    """Connections as the worker's role."""
    pool: Any = AsyncConnectionPool(app_url, min_size=1, max_size=6, kwargs={"autocommit": True}, open=False)
    await pool.open()
    yield pool
    await pool.close()


def sealer_of(folder: Path) -> SecretSealer:
    """What seals secrets under the folder's key file."""
    return SecretSealer(CustodianWrapper(FileCustodian(folder / "webhook_keys.json")))


@asynccontextmanager
async def delivering(app_url: str, temporal_address: str, folder: Path) -> AsyncIterator[None]:
    """Deliver until the block is left; endpoints get 1.5 seconds to answer."""
    async with AsyncExitStack() as stack:
        codec = open_codec(folder / "codec_keys.json")
        client = await Client.connect(temporal_address, data_converter=data_converter(codec))
        pool = await stack.enter_async_context(open_pool(app_url))
        poster = Poster(app_url)
        await poster.start()
        stack.push_async_callback(poster.stop)
        senders = {
            mode: await stack.enter_async_context(Sender(mode, response_seconds_max=RESPONSE_SECONDS_MAX))
            for mode in Mode
        }
        deliveries = DeliveryBook(pool, sealer_of(folder))
        activities = WebhookActivities(pool=pool, book=poster, deliveries=deliveries, senders=senders)
        worker = Worker(
            client,
            task_queue=BACKGROUND_QUEUE,
            workflows=[WebhookDeliveryWorkflow],
            activities=[activities.deliver_webhooks],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        await stack.enter_async_context(worker)
        await stack.enter_async_context(waking(client, pool))
        yield


async def main(app_url: str, temporal_address: str, folder: str) -> None:
    """Deliver until killed."""
    async with delivering(app_url, temporal_address, Path(folder)):
        print("delivering", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
