"""Webhooks of the whole instance: a charge happens, and the merchant's server hears of it, signed."""

import asyncio
import time

from standardwebhooks import Webhook

from tests.e2e.shop import Shop
from tests.events.receiver import Receiver


async def test_a_charge_is_heard_of(shop: Shop) -> None:
    async with Receiver() as receiver:
        endpoint = (await asyncio.to_thread(shop.post, "/webhook_endpoints", {"url": receiver.url})).json()
        charge = (await asyncio.to_thread(shop.charge, "tok_visa_4291")).json()
        deadline = time.monotonic() + 30
        while not any(one.event["data"]["object"].get("status") == "settled" for one in receiver.received):
            assert time.monotonic() < deadline, [one.event["type"] for one in receiver.received]
            await asyncio.sleep(0.1)
        verifier = Webhook(endpoint["secret"])
        for one in receiver.received:
            verifier.verify(one.body, one.headers)
        heard = {
            one.event["type"] for one in receiver.received if one.event["data"]["object"].get("id") == charge["id"]
        }
        assert {"charge.created", "charge.settled"} <= heard
        removed = await asyncio.to_thread(shop.send, "DELETE", f"/v1/webhook_endpoints/{endpoint['id']}")
        assert removed.json()["status"] == "deleted"
        gone = await asyncio.to_thread(shop.send, "GET", f"/v1/webhook_endpoints/{endpoint['id']}")
        assert gone.status_code == 404
