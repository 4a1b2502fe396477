"""Events are read by sequence: by page, by waiting, as a stream; the chain of hashes shows what was changed."""

import asyncio
import json
import time
from typing import Any

from domain.event_types import EVENT_TYPES
from tests.api.conftest import Shop, World
from tests.ledger.postings import World as Merchant


async def happen(world: World, shop: Shop, count: int, prefix: str = "ch") -> None:
    merchant = Merchant(merchant_id=shop.merchant_id)
    for n in range(count):
        charge = merchant.charge(f"{prefix}_{shop.merchant_id}_{n}")
        posting = merchant.posting(key=f"{charge.id}:1", records=(charge,), events=(merchant.event(charge),))
        await world.services.book.post(posting)


async def test_a_page_is_waited_for(world: World, shop: Shop) -> None:
    started = time.monotonic()
    nothing = await shop.get("/events", after=0, wait=0.3)
    assert nothing["data"] == [] and time.monotonic() - started >= 0.3
    waiting = asyncio.create_task(shop.get("/events", after=0, wait=20))
    await asyncio.sleep(0.1)
    await happen(world, shop, 1)
    page = await asyncio.wait_for(waiting, 10)
    assert [event["sequence"] for event in page["data"]] == [1]


async def test_types_are_filtered_by_family(world: World, shop: Shop) -> None:
    await happen(world, shop, 2)
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_filter"})
    assert [one["sequence"] for one in (await shop.get("/events", type="charge.*"))["data"]] == [1, 2]
    assert [one["sequence"] for one in (await shop.get("/events", type="account.created"))["data"]] == [3]
    refused = await shop.send("GET", "/events", params={"type": "charge.%"})
    assert refused.status_code == 422


async def test_a_stream_goes_on_after_the_last_id(world: World, shop: Shop) -> None:
    from_app = shop.http._transport.app  # type: ignore[attr-defined]
    await happen(world, shop, 3)
    lines: list[str] = []
    enough = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        lines.extend(message.get("body", b"").decode().splitlines())
        if sum(line.startswith("id: ") for line in lines) >= 3:
            enough.set()

    async def receive() -> dict[str, Any]:
        await enough.wait()
        return {"type": "http.disconnect"}

    headers = {"authorization": f"Bearer {shop.key}", "last-event-id": "2"}
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"},
        **{"path": "/v1/events/stream", "raw_path": b"/v1/events/stream", "query_string": b"", "root_path": ""},
        **{"server": ("api.test", 80), "client": ("127.0.0.1", 1)},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    task = asyncio.create_task(from_app(scope, receive, send))
    await asyncio.sleep(0.2)
    await happen(world, shop, 2, "later")
    await asyncio.wait_for(enough.wait(), 10)
    await asyncio.wait_for(task, 10)
    assert [line for line in lines if line.startswith("id: ")] == ["id: 3", "id: 4", "id: 5"]
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert events == (await shop.get("/events", after=2))["data"]


async def test_the_document_describes_every_event(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    assert document["webhooks"].keys() == {one.name for one in EVENT_TYPES}
    settled = document["webhooks"]["charge.settled"]["post"]
    assert [one["name"] for one in settled["parameters"]] == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    told = settled["requestBody"]["content"]["application/json"]["schema"]["allOf"][1]["properties"]
    assert told["data"]["properties"]["object"] == {"$ref": "#/components/schemas/Charge"}
