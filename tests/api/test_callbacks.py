"""What rails call back: signed, stored once before the answer, brought to its order until the books agree."""

import asyncio
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from temporalio.service import RPCError, RPCStatusCode

from domain.inbound import InboundKind, InboundNotice, InboundReceipt, InboundStatus
from domain.rail import DeclineClass, Outcome, RailAnswer
from operations.notice_delivery import NoticeDelivery
from operations.notice_store import NoticeStore, Progress
from operations.rail_inbox import RailInbox
from tests.api.conftest import CALLBACK_SECRET, Shop, World
from tests.api.problems import assert_problem

CARD = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291"}
YES = RailAnswer(outcome=Outcome.APPROVED)
NO = RailAnswer(outcome=Outcome.DECLINED, decline_code="account_closed", decline_class=DeclineClass.HARD)


def signed(body: bytes, at: float | None = None) -> dict[str, str]:
    stamp = int(at or time.time())
    digest = hmac.new(CALLBACK_SECRET, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Rail-Signature": f"t={stamp},v1={digest}"}


def chargeback(charge: dict[str, Any], **changes: Any) -> bytes:
    notice = {
        "type": "dispute.created",
        "id": f"n_{charge['id']}",
        "rail": charge["rail"],
        "rail_key": f"{charge['id']}:1",
        "reference": f"cb_{charge['id']}",
        "amount": 8420,
        "currency": "EUR",
        "reason": "fraudulent",
    }
    return json.dumps({**notice, **changes}).encode()


def outcome(rail: str, rail_key: str, answer: RailAnswer | None, event: str | None = None) -> InboundNotice:
    return InboundNotice(
        rail=rail,
        event_id=event or secrets.token_hex(8),
        kind=InboundKind.OUTCOME,
        rail_key=rail_key,
        answer=answer,
    )


def inbox_of(world: World) -> RailInbox:
    inbox = world.services.inbox
    assert isinstance(inbox, RailInbox)
    return inbox


async def told(world: World, *notices: InboundNotice) -> list[tuple[str, bool]]:
    receipts: Sequence[InboundReceipt] = await inbox_of(world).take(notices)
    return [(receipt.status.value, receipt.new) for receipt in receipts]


async def listed(world: World, rail: str, **query: Any) -> list[dict[str, Any]]:
    admin = await world.admin()
    found: list[dict[str, Any]] = (await admin.get(f"/rails/{rail}/callbacks", limit=100, **query))["data"]
    return found


async def shown(world: World, rail: str, event: str) -> dict[str, Any]:
    return next(row for row in await listed(world, rail) if row["event"] == event)


def make_due(database: Any) -> None:
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        connection.execute("UPDATE rail_notices SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")


async def test_only_what_the_rail_signed_lately_is_taken(real_shop: Shop, real_world: World) -> None:
    charge = (await real_shop.post("/charges", CARD)).json()
    body, path = chargeback(charge), f"/v1/rails/{charge['rail']}/callbacks"
    for headers in ({}, {"Rail-Signature": "t=1,v1=00"}, signed(body, time.time() - 301), signed(body + b" ")):
        assert_problem(await real_world.http.post(path, content=body, headers=headers), 401, "signature_invalid")
    for garbage in (
        b"",
        b"[]",
        b"\xff",
        b'{"type":"other"}',
        chargeback(charge, amount=1.5),
        chargeback(charge, rail="x"),
    ):
        answer = await real_world.http.post(path, content=garbage, headers=signed(garbage))
        assert_problem(answer, 422, "callback_unreadable")
    nobody = await real_world.http.post("/v1/rails/nobody/callbacks", content=body, headers=signed(body))
    assert_problem(nobody, 404, "rail_not_found")
    assert await listed(real_world, charge["rail"]) == []


async def test_a_chargeback_is_stored_before_the_answer_and_posts_once(real_shop: Shop, real_world: World) -> None:
    charge = (await real_shop.post("/charges", CARD)).json()
    body = chargeback(charge)
    # The provider's address serves all its rails.
    answers = [
        await real_world.http.post(f"/v1/rails/{name}/callbacks", content=body, headers=signed(body))
        for name in ("sandbox", charge["rail"], "sandbox")
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    notices = [answer.json()["notices"][0] for answer in answers]
    assert [(one["status"], one["duplicate"]) for one in notices] == [
        ("handled", False),
        ("handled", True),
        ("handled", True),
    ]
    row = await shown(real_world, charge["rail"], f"dispute.created:cb_{charge['id']}")
    assert (row["times_received"], row["status"], row["subject"]) == (3, "handled", notices[0]["object"])
    async with asyncio.timeout(15):
        while not (disputes := (await real_shop.get("/disputes", charge=charge["id"]))["data"]):
            await asyncio.sleep(0.05)
    assert [one["id"] for one in disputes] == [notices[0]["object"]]
    assert_problem(await real_shop.send("GET", f"/rails/{charge['rail']}/callbacks"), 403, "admin_key_required")


async def test_a_notice_of_an_unknown_order_is_kept_until_the_order_is_known(
    real_shop: Shop, real_world: World, database: Any
) -> None:
    charge = (await real_shop.post("/charges", CARD)).json()
    stray = chargeback(charge, reference="stray", rail_key="ch_nobody:1")
    answer = await real_world.http.post("/v1/rails/sandbox/callbacks", content=stray, headers=signed(stray))
    assert answer.status_code == 200 and answer.json()["notices"][0]["status"] == "unmatched"
    row = await shown(real_world, charge["rail"], "dispute.created:stray")
    assert row["status"] == "unmatched" and row["next_try_at"] is not None and row["tries"] == 1
    # It names the rail's own reference of a charge that the books learn only later.
    event = secrets.token_hex(8)
    by_reference = InboundNotice(
        rail=charge["rail"], event_id=event, kind=InboundKind.OUTCOME, rail_reference=f"late_{event}", answer=YES
    )
    assert await told(real_world, by_reference) == [("unmatched", True)]
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE attempts SET document = document || jsonb_build_object('rail_reference', %s::text) WHERE id = %s",
            (f"late_{event}", f"{charge['id']}:1"),
        )
    make_due(database)
    await inbox_of(real_world).deliver_due()
    row = await shown(real_world, charge["rail"], event)
    assert (row["status"], row["subject"], row["tries"]) == ("handled", charge["id"], 2)


async def test_an_unknown_charge_ends_with_what_the_rail_calls_back(
    real_shop: Shop, real_world: World, database: Any
) -> None:
    charge = (await real_shop.post("/charges", {**CARD, "source": "tok_timeout_forever"})).json()
    assert charge["status"] == "unknown"
    rail, key = charge["rail"], f"{charge['id']}:1"
    assert await told(real_world, outcome(rail, key, None)) == [("handled", True)]  # only news: the rail was asked
    first = outcome(rail, key, YES)
    assert await told(real_world, first, first) == [("received", True), ("received", False)]
    async with asyncio.timeout(15):
        while (await real_shop.get(f"/charges/{charge['id']}"))["status"] not in ("captured", "settled"):
            await asyncio.sleep(0.05)
    make_due(database)
    await inbox_of(real_world).deliver_due()
    assert (await shown(real_world, rail, first.event_id))["status"] == "handled"
    # Out of order: an older state of the order arrives after its end, and a repeated end.
    late = [outcome(rail, key, RailAnswer(outcome=Outcome.PENDING)), outcome(rail, key, YES)]
    assert await told(real_world, *late) == [("handled", True), ("handled", True)]
    assert (await real_shop.get(f"/charges/{charge['id']}"))["amount_captured"] == 8420


async def test_what_the_books_contradict_is_kept_for_a_person(real_shop: Shop, real_world: World) -> None:
    charge = (await real_shop.post("/charges", CARD)).json()
    before = await real_shop.get(f"/accounts/{charge['account']}/balance")
    assert await told(real_world, outcome(charge["rail"], f"{charge['id']}:1", NO)) == [("kept", True)]
    (opened,) = (await real_shop.get("/reconciliation/exceptions", status="open"))["data"]
    assert (opened["kind"], opened["subject"]) == ("rail_notice", charge["id"])
    after = await real_shop.get(f"/accounts/{charge['account']}/balance")
    assert (after["posted"], after["available"]) == (before["posted"], before["available"])


async def test_a_crash_after_storing_loses_nothing(
    real_shop: Shop, real_world: World, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = (await real_shop.post("/charges", CARD)).json()
    body = chargeback(charge)

    async def away(self: NoticeDelivery, notice: InboundNotice) -> None:
        raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")

    with monkeypatch.context() as broken:
        broken.setattr(NoticeDelivery, "deliver", away)
        answer = await real_world.http.post("/v1/rails/sandbox/callbacks", content=body, headers=signed(body))
    assert answer.status_code == 200 and answer.json()["notices"][0]["status"] == "received"
    assert (await real_shop.get("/disputes", charge=charge["id"]))["data"] == []
    make_due(database)
    assert await inbox_of(real_world).deliver_due() >= 1
    async with asyncio.timeout(15):
        while not (await real_shop.get("/disputes", charge=charge["id"]))["data"]:
            await asyncio.sleep(0.05)
    assert (await shown(real_world, charge["rail"], f"dispute.created:cb_{charge['id']}"))["status"] == "handled"


async def test_metrics_tell_what_waits_in_the_inbox_and_how_long(world: World, database: Any) -> None:
    """By rail and status; what is through, or kept for a person, waits no more."""
    ends = (None, InboundStatus.UNMATCHED, InboundStatus.HANDLED, InboundStatus.KEPT)
    async with AsyncConnectionPool(database.app_url, open=False) as pool:
        store = NoticeStore(pool)
        stored = await store.add([outcome("quiet", f"ch_nobody:{number}", YES) for number in range(len(ends))])
        for (notice, _), end in zip(stored, ends, strict=True):
            if end is not None:
                await store.note(notice, Progress(status=end))
        async with pool.connection() as connection:
            await connection.execute(
                "UPDATE rail_notices SET received_at = received_at - interval '1 hour' WHERE id = %s",
                (stored[0][0].id,),
            )
        waiting = await inbox_metrics(world, "quiet")
        assert {name: value for name, value in waiting.items() if name.startswith("notices")} == {
            "notices_waiting/received": 1.0,
            "notices_waiting/unmatched": 1.0,
        }
        assert waiting["oldest_notice_seconds/received"] >= 3600 > waiting["oldest_notice_seconds/unmatched"] >= 0
        for notice, _ in stored:
            await store.note(notice, Progress(status=InboundStatus.HANDLED))
    assert await inbox_metrics(world, "quiet") == {}


async def inbox_metrics(world: World, rail: str) -> dict[str, float]:
    text = (await world.http.get("/metrics")).text
    shown = rf'^ledgerline_rail_inbox_(\w+){{rail="{rail}",status="(\w+)"}} (\S+)$'
    return {f"{name}/{status}": float(value) for name, status, value in re.findall(shown, text, re.MULTILINE)}
