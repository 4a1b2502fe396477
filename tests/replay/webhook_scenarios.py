"""The paths of webhook delivery; `tests/replay/scenarios.py` lists them."""

import asyncio
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from domain.identifiers import Mode
from domain.webhooks import DeliverTo
from tests.workflows.conftest import World
from tests.workflows.fakes import FakeWebhooks
from workflows.policies import BACKGROUND_QUEUE
from workflows.webhook_delivery import WebhookDeliveryWorkflow


async def webhook_woken_then_disabled(world: World) -> WorkflowHandle[Any, Any]:
    webhooks = FakeWebhooks(waits=[0, 0.1, None])
    to = DeliverTo(endpoint_id="we_1", merchant_id="mer_a", mode=Mode.TEST)
    worker = Worker(
        world.client,
        task_queue=BACKGROUND_QUEUE,
        workflows=[WebhookDeliveryWorkflow],
        activities=[webhooks.deliver_webhooks],
    )
    async with worker:
        run = WebhookDeliveryWorkflow.run
        handle = await world.client.start_workflow(run, to, id="golden/webhook", task_queue=BACKGROUND_QUEUE)
        while webhooks.rounds < 3:
            await asyncio.sleep(0.05)
        await handle.signal(WebhookDeliveryWorkflow.wake)
        await handle.result()
    return handle
