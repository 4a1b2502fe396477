"""Sending again: a window twice, what failed since an instant, one delivery, and what was given up."""

from pathlib import Path
from typing import Any

import pytest
from ledgerline_sdk import SqliteCursorStore, WebhookConsumer

from domain.identifiers import Mode
from domain.webhooks import RETRY_DELAYS_SECONDS
from tests.events.conftest import Delivery, until
from tests.events.receiver import OK, Received, Receiver, Reply
from tests.events.test_delivery import deliveries


async def test_rule_32_replaying_a_window_twice_changes_nothing_at_the_consumer(
    delivery: Delivery, receiver: Receiver, tmp_path: Path
) -> None:
    endpoint = await delivery.endpoint(receiver.url, ordering="strict")
    store = SqliteCursorStore(tmp_path / "shop.db")
    with store.transaction() as position:
        position.connection.execute("CREATE TABLE seen (sequence INTEGER, type TEXT)")

    def handle(event: dict[str, Any], connection: Any) -> None:
        connection.execute("INSERT INTO seen VALUES (?, ?)", (event["sequence"], event["type"]))

    def state() -> list[Any]:
        with store.transaction() as position:
            return [position.read(), position.connection.execute("SELECT * FROM seen ORDER BY rowid").fetchall()]

    consumer = WebhookConsumer(secrets=[endpoint["secret"]], store=store, handle=handle)
    duplicates: list[bool] = []

    def answer(request: Received) -> Reply:
        duplicates.append(consumer.receive(request.headers, request.body).duplicate)
        return OK

    receiver.answer = answer
    await delivery.happen(20)
    await until(lambda: len(duplicates) == 21)
    before, first = state(), list(receiver.received)
    assert before[0] == 21 and not any(duplicates)
    window = {"from_sequence": 5, "to_sequence": 15}
    for _ in range(2):
        answered = await delivery.shop.post("/events/replay", {**window, "endpoint": endpoint["id"]})
        assert answered.status_code == 201 and answered.json()["count"] == 11
    await until(lambda: len(duplicates) == 21 + 22)
    assert state() == before and all(duplicates[21:])
    again = receiver.received[21:]
    assert [one.event["sequence"] for one in again[:11]] == list(range(5, 16))
    assert [one.body for one in again[:11]] == [one.body for one in first[4:15]]
    assert {one.headers["webhook-id"] for one in again} == {one.headers["webhook-id"] for one in first[4:15]}
    store.close()


async def test_a_window_of_time_goes_to_every_endpoint_once_for_a_key(delivery: Delivery, receiver: Receiver) -> None:
    await delivery.endpoint(receiver.url, ordering="strict")
    await delivery.happen(6)
    await until(lambda: len(receiver.received) == 7)
    events = (await delivery.shop.get("/events"))["data"]
    window = {"from": events[2]["created_at"], "to": events[5]["created_at"]}
    for _ in range(2):
        answered = await delivery.shop.post("/events/replay", window, key="once-only")
        assert (answered.json()["from_sequence"], answered.json()["to_sequence"]) == (3, 5)
    await until(lambda: receiver.sequences[7:] == [3, 4, 5])
    for wrong in ({}, {"from_sequence": 1, "to": events[0]["created_at"]}, {"from_sequence": 5, "to_sequence": 2}):
        assert (await delivery.shop.post("/events/replay", wrong)).status_code == 422


async def test_what_failed_since_an_instant_is_recovered_and_one_delivery_retried(
    delivery: Delivery, receiver: Receiver
) -> None:
    receiver.answer = lambda request: OK if request.event["sequence"] % 2 else Reply(503, {"retry-after": "3600"})
    endpoint = await delivery.endpoint(receiver.url)
    await delivery.happen(11)

    async def waiting() -> bool:
        return len(await deliveries(delivery, endpoint, status="pending")) == 6

    await until(waiting)
    receiver.answer = lambda request: OK
    path = f"/webhook_endpoints/{endpoint['id']}"
    recovered = await delivery.shop.post(f"{path}/recover", {"since": "2026-01-01T00:00:00Z"})
    assert recovered.json()["count"] == 6

    async def done() -> bool:
        return len(await deliveries(delivery, endpoint, status="succeeded")) == 12

    await until(done)
    count = len(receiver.received)
    event_id = receiver.received[0].event["id"]
    retried = await delivery.shop.post(f"{path}/deliveries/{event_id}/retry")
    assert retried.status_code == 200
    await until(lambda: len(receiver.received) == count + 1)
    assert receiver.received[-1].event["id"] == event_id
    assert (await delivery.shop.post(f"{path}/deliveries/evt_nothing/retry")).status_code == 404
    stranger = await delivery.world.shop()
    assert (await stranger.post(f"{path}/deliveries/{event_id}/retry")).status_code == 404


@pytest.mark.parametrize("ordering", ["strict", "parallel"])
async def test_a_spent_schedule_disables_and_the_dead_are_listed_and_recovered(
    ordering: str, delivery: Delivery, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RETRY_DELAYS_SECONDS, Mode.TEST, (0.01, 0.01))
    receiver.answer = lambda request: Reply(500)
    endpoint = await delivery.endpoint(receiver.url, ordering=ordering)
    path = f"/webhook_endpoints/{endpoint['id']}"

    async def given_up() -> bool:
        return (await delivery.shop.get(path))["disabled_reason"] == "failing"

    await until(given_up)
    (dead,) = await deliveries(delivery, endpoint, status="dead")
    assert dead["attempts"] == 3 and dead["last_attempt"]["response_status"] == 500
    assert [one["type"] for one in (await delivery.shop.get("/events"))["data"]] == [
        "webhook_endpoint.created",
        "webhook_endpoint.disabled",
    ]
    receiver.answer = lambda request: OK
    await delivery.shop.send("PATCH", path, json={"status": "enabled"})
    recovered = await delivery.shop.post(f"{path}/recover", {"since": "2026-01-01T00:00:00Z"})
    assert recovered.status_code == 200
    await until(lambda: {1, 2, 3} <= set(receiver.sequences[3:]))
