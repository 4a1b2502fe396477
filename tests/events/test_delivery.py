"""Webhooks arrive: signed, in order where that is asked for, again until they are taken, and never anywhere else."""

import itertools
from typing import Any

import pytest
from standardwebhooks import Webhook
from temporalio.client import Client, WorkflowExecutionStatus

from domain.identifiers import Mode
from domain.webhooks import RETRY_DELAYS_SECONDS
from tests.events.conftest import Delivery, until
from tests.events.receiver import OK, Received, Receiver, Reply
from workflows.webhook_delivery import webhook_workflow_id


async def deliveries(delivery: Delivery, endpoint: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    """The endpoint's deliveries as the API lists them."""
    page = await delivery.shop.get(f"/webhook_endpoints/{endpoint['id']}/deliveries", limit=100, **query)
    return page["data"]  # type: ignore[no-any-return]


async def test_rule_33_events_arrive_signed_and_are_listed(delivery: Delivery, receiver: Receiver) -> None:
    endpoint = await delivery.endpoint(receiver.url, ordering="strict")
    await delivery.happen(30)
    await until(lambda: len(receiver.received) >= 31)
    verifier = Webhook(endpoint["secret"])
    for one in receiver.received:
        verifier.verify(one.body, one.headers)
        assert one.headers["webhook-id"] == one.event["id"]
    assert receiver.sequences == list(range(1, 32))
    first = receiver.received[0].event
    assert first["type"] == "webhook_endpoint.created" and "secret" not in str(first)
    shown = {event["id"]: event for event in (await delivery.shop.get("/events", limit=100))["data"]}
    assert all(shown[one.event["id"]] == one.event for one in receiver.received)

    async def stored() -> bool:
        return len(await deliveries(delivery, endpoint, status="succeeded")) == 31

    await until(stored)
    row = (await deliveries(delivery, endpoint))[0]
    assert row["sequence"] == 31 and row["attempts"] == 1 and row["last_attempt"]["response"] == "ok"


async def test_a_strict_endpoint_waits_at_what_fails_and_keeps_the_order(
    delivery: Delivery, receiver: Receiver
) -> None:
    failures = itertools.count()

    def answer(request: Received) -> Reply:
        return Reply(500) if request.event["sequence"] == 4 and next(failures) < 3 else OK

    receiver.answer = answer
    endpoint = await delivery.endpoint(receiver.url, ordering="strict")
    await delivery.happen(9)
    await until(lambda: 10 in receiver.sequences)
    assert receiver.sequences == [1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 8, 9, 10]
    path = f"/webhook_endpoints/{endpoint['id']}/deliveries/{receiver.received[3].event['id']}"

    async def stored() -> bool:
        return bool((await delivery.shop.send("GET", path)).status_code == 200)

    await until(stored)
    details = await delivery.shop.get(path)
    assert [one["response_status"] for one in details["attempts_made"]] == [500, 500, 500, 200]
    timestamps = {one.headers["webhook-signature"] for one in receiver.received if one.event["sequence"] == 4}
    assert timestamps and len({one.headers["webhook-id"] for one in receiver.received[3:7]}) == 1


async def test_a_parallel_endpoint_goes_on_around_what_fails(delivery: Delivery, receiver: Receiver) -> None:
    seen: dict[int, int] = {}

    def answer(request: Received) -> Reply:
        sequence = request.event["sequence"]
        seen[sequence] = seen.get(sequence, 0) + 1
        return Reply(503) if sequence % 3 == 0 and seen[sequence] < 4 else OK

    receiver.answer = answer
    await delivery.endpoint(receiver.url, ordering="parallel", in_flight_max=4)
    await delivery.happen(40)
    await until(lambda: len(seen) == 41 and all(count >= 4 for one, count in seen.items() if one % 3 == 0))
    assert all(count == 1 for one, count in seen.items() if one % 3)


async def test_retry_after_is_honoured_and_redirects_are_failures(delivery: Delivery, receiver: Receiver) -> None:
    replies = iter([Reply(302, {"location": receiver.url + "2"}), Reply(429, {"retry-after": "86400"})])
    receiver.answer = lambda request: next(replies) if request.event["sequence"] == 2 else OK
    endpoint = await delivery.endpoint(receiver.url, ordering="strict")
    await delivery.happen(1)

    async def refused() -> bool:
        return [one["attempts"] for one in await deliveries(delivery, endpoint, status="pending")] == [2]

    await until(refused)
    (row,) = await deliveries(delivery, endpoint, status="pending")
    assert row["last_attempt"]["response_status"] == 429 and row["next_attempt_at"] > row["last_attempt_at"]
    assert row["next_attempt_at"][:10] != row["last_attempt_at"][:10], "a day later"
    assert {one.path for one in receiver.received} == {"/hook"}


async def test_410_disables_with_a_notice_and_enabling_again_loses_nothing(
    delivery: Delivery, receiver: Receiver
) -> None:
    receiver.answer = lambda request: Reply(410) if request.event["sequence"] == 3 else OK
    endpoint = await delivery.endpoint(receiver.url, ordering="strict")
    await delivery.happen(5)
    path = f"/webhook_endpoints/{endpoint['id']}"

    async def disabled() -> bool:
        return (await delivery.shop.get(path))["disabled_reason"] == "gone"

    await until(disabled)
    notice = (await delivery.shop.get("/events", type="webhook_endpoint.disabled"))["data"]
    assert [one["data"]["object"]["id"] for one in notice] == [endpoint["id"]]
    refused = await delivery.shop.post(f"{path}/recover", {"since": "2026-01-01T00:00:00Z"})
    assert refused.status_code == 409
    await delivery.happen(3, "later")
    receiver.answer = lambda request: OK
    changed = await delivery.shop.send("PATCH", path, json={"status": "enabled"})
    assert changed.status_code == 200 and changed.json()["disabled_reason"] is None
    last = await delivery.last_sequence()
    await until(lambda: last in receiver.sequences)
    first_time = list(dict.fromkeys(receiver.sequences))
    assert first_time == list(range(1, last + 1))


async def test_the_run_of_an_endpoint_ends_with_it(delivery: Delivery, receiver: Receiver, temporal: Any) -> None:
    """Nobody finds a run in Temporal's UI that waits for what never comes."""
    endpoint = await delivery.endpoint(receiver.url)
    await delivery.happen(2)
    last = await delivery.last_sequence()
    await until(lambda: last in receiver.sequences)
    await delivery.shop.send("PATCH", f"/webhook_endpoints/{endpoint['id']}", json={"status": "disabled"})
    run = (await Client.connect(temporal.address)).get_workflow_handle(webhook_workflow_id(endpoint["id"]))

    async def ended() -> bool:
        return (await run.describe()).status is WorkflowExecutionStatus.COMPLETED

    await until(ended)


async def test_a_hanging_endpoint_does_not_slow_the_others(delivery: Delivery, receiver: Receiver) -> None:
    async with Receiver() as dead:
        dead.answer = lambda request: Reply(delay_seconds=30)
        await delivery.endpoint(dead.url, ordering="strict")
        hung = await delivery.endpoint(dead.url)
        await delivery.endpoint(receiver.url, ordering="strict")
        await delivery.happen(50)
        await until(lambda: len(receiver.received) >= 50, seconds=10)

        async def timed_out() -> bool:
            rows = await deliveries(delivery, hung)
            return bool(rows) and rows[0]["last_attempt"]["error"] == "timeout"

        await until(timed_out)


async def test_only_wanted_types_are_sent(delivery: Delivery, receiver: Receiver) -> None:
    await delivery.endpoint(receiver.url, event_types=["charge.*"], ordering="strict")
    await delivery.shop.post("/accounts", {"currency": "EUR", "id": "acct_unwanted"})
    await delivery.happen(2)
    await until(lambda: len(receiver.received) >= 2)
    assert {one.event["type"] for one in receiver.received} == {"charge.settled"}
    assert receiver.sequences == [3, 4]


async def test_a_rotated_secret_signs_beside_the_old_one(delivery: Delivery, receiver: Receiver) -> None:
    endpoint = await delivery.endpoint(receiver.url, ordering="strict", signatures=["v1", "v1a"])
    assert endpoint["public_key"].startswith("whpk_") and "whsk_" not in str(endpoint)
    path = f"/webhook_endpoints/{endpoint['id']}"
    rotated = await delivery.shop.post(f"{path}/rotate_secret", {"overlap_seconds": 3600}, key="rotate-once")
    assert rotated.status_code == 200 and rotated.json()["secret"] != endpoint["secret"]
    again = await delivery.shop.post(f"{path}/rotate_secret", {"overlap_seconds": 3600}, key="rotate-once")
    assert again.headers["Idempotent-Replayed"] == "true" and "secret" not in again.json()
    await delivery.happen(1)
    await until(lambda: 3 in receiver.sequences)
    last = receiver.received[-1]
    versions = [one.split(",")[0] for one in last.headers["webhook-signature"].split(" ")]
    assert sorted(versions) == ["v1", "v1", "v1a", "v1a"]
    for secret in (endpoint["secret"], rotated.json()["secret"]):
        Webhook(secret).verify(last.body, last.headers)


async def test_a_parallel_endpoint_that_is_back_gets_new_events_at_once(
    delivery: Delivery, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What held new events back while everything failed ends with the first success of any."""
    monkeypatch.setitem(RETRY_DELAYS_SECONDS, Mode.TEST, (2.0, 30.0, 30.0))
    seen: set[int] = set()

    def answer(request: Received) -> Reply:
        first = request.event["sequence"] not in seen
        seen.add(request.event["sequence"])
        return Reply(500) if first and request.event["sequence"] < 3 else OK

    receiver.answer = answer
    await delivery.endpoint(receiver.url)
    await until(lambda: 1 in seen)
    await delivery.happen(1)
    await until(lambda: 2 in seen)
    await delivery.happen(1, "later")
    await until(lambda: 3 in seen and receiver.sequences.count(2) == 2, seconds=15)
