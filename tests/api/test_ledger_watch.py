"""The watch on everything real: a row that a superuser altered raises the alarm and stops payouts, until a person."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from api.serve import open_app
from embedded.processes import free_port, launch, stop
from embedded.temporal import EmbeddedTemporal
from settings import Settings
from tests.api.conftest import CALLBACK_SECRET, Shop, UnreachableTemporal, World
from tests.api.problems import assert_problem
from tests.api.test_life_of_money import IBAN
from tests.conftest import ROOT, TestDatabase
from worker import running_workers

ROUTING_KEY = "routing-key-of-the-tests"
ORDER = {"amount": 100, "currency": "EUR", "source": "acct_till", "destination": IBAN}


@dataclass
class Watched:
    """A world with both workers, its database, and what the receivers of alerts got."""

    world: World
    database: TestDatabase
    receiver: str

    def received(self, path: str) -> list[Any]:
        """The messages a receiver took."""
        messages: list[Any] = httpx.get(f"{self.receiver}/received", timeout=5).json().get(path, [])
        return messages

    async def tamper(self, statement: str) -> None:
        """Change a row as a superuser who takes the guard off for it."""
        async with await psycopg.AsyncConnection.connect(self.database.admin_url) as connection:
            await connection.execute("ALTER TABLE entries DISABLE TRIGGER ALL")
            assert (await connection.execute(statement.encode())).rowcount == 1
            await connection.execute("ALTER TABLE entries ENABLE TRIGGER ALL")
            await connection.execute("ALTER TABLE entries ENABLE ALWAYS TRIGGER entries_append_only")


@pytest.fixture
def own_temporal(tmp_path: Path) -> Iterator[EmbeddedTemporal]:
    """A server of its own: schedules belong to a server, and the others' workers must not run ours."""
    home = tmp_path / "watch-temporal"
    home.mkdir()
    server = EmbeddedTemporal(home, free_port(), None)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def receiver(scratch: Path) -> Iterator[str]:
    """The URL of a process that takes alerts."""
    port = free_port()
    process = launch(
        [sys.executable, "-m", "tests.api.alert_receiver", "--port", str(port)],
        log_path=scratch / "alert-receiver.log",
        environment={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{url}/received", timeout=1)
            break
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    yield url
    stop(process, ask=signal.SIGTERM, patience_seconds=5)


@pytest.fixture
async def watched(
    fresh_database: TestDatabase,
    own_temporal: EmbeddedTemporal,
    rails_sandbox: str,
    receiver: str,
    tmp_path: Path,
) -> AsyncIterator[Watched]:
    """The API with both workers; the watch looks every fifth of a second."""
    secrets = tmp_path / "home" / "secrets"
    secrets.mkdir(parents=True, mode=0o700)
    for name in ("callback_secret", "challenge_secret"):
        (secrets / name).write_bytes(CALLBACK_SECRET)
    (secrets / "pagerduty").write_text(f"{ROUTING_KEY}\n")
    settings = Settings(
        home=tmp_path / "home",
        database_url=fresh_database.app_url,
        database_api_url=fresh_database.api_url,
        temporal_address=own_temporal.address,
        rails_url=rails_sandbox,
        api_public_url="http://api.test",
        watch_seconds=0.2,
        alert_webhook_url=f"{receiver}/hook",
        alertmanager_url=receiver,
        pagerduty_routing_key_file=secrets / "pagerduty",
        pagerduty_url=f"{receiver}/v2/enqueue",
    )
    async with contextlib.AsyncExitStack() as stack:
        app, parts = await stack.enter_async_context(open_app(settings))
        await stack.enter_async_context(running_workers(parts))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://api.test", timeout=30)
        )
        yield Watched(World(app.state.core.services, http, UnreachableTemporal()), fresh_database, receiver)


async def until(holds: Callable[[], Awaitable[Any]], what: str, seconds: float = 30.0) -> Any:
    """Return what `holds` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := await holds()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.1)
    return value


async def funded_till(shop: Shop) -> None:
    """An account with 50.00 EUR."""
    assert (await shop.post("/accounts", {"currency": "EUR", "id": "acct_till"})).status_code == 201
    assert (await shop.post("/accounts/acct_till/fund", {"amount": 5000})).status_code == 201


async def report(admin: Shop, *, ok: bool) -> Callable[[], Awaitable[Any]]:
    """A question: does the watch say so?"""

    async def ask() -> Any:
        answer = await admin.get("/ledger/invariants")
        seen = answer["incremental"] and answer["full"] and answer["entries_checked"] > 0
        return answer if seen and answer["ok"] is ok else None

    return ask


async def test_rule_27_a_delta_raises_an_alert_and_stops_payouts_until_a_person_lifts_the_stop(
    watched: Watched,
) -> None:
    """A superuser alters an entry: named with account and entry, told to three receivers, payouts refused."""
    shop, admin = await watched.world.shop(), await watched.world.admin()
    await funded_till(shop)
    sound = await until(await report(admin, ok=True), "the watch runs")
    assert sound["payouts_stopped"] == [] and sound["violations"] == []
    assert all(one["delta"] == 0 for one in sound["currencies"])

    await watched.tamper("UPDATE entries SET amount_minor = amount_minor + 7 WHERE id = 2")
    broken = await until(await report(admin, ok=False), "the watch finds it")
    account = f"{shop.merchant_id}/test/acct_till"
    assert (account, "le_0000000000000002") in {(one["account"], one["entry"]) for one in broken["violations"]}
    await until(lambda: stopped(admin), "payouts are stopped")

    problem = assert_problem(await shop.post("/payouts", ORDER, key="later"), 503, "payouts_stopped")
    assert "payout" not in problem
    assert (await shop.get("/accounts/acct_till/balance"))["posted"] == 5000
    moved = {"amount": 1, "currency": "EUR", "source": "acct_till", "destination": "acct_other"}
    assert (await shop.post("/accounts", {"currency": "EUR", "id": "acct_other"})).status_code == 201
    assert (await shop.post("/transfers", moved)).status_code == 201, "only payouts are stopped"
    listed = (await admin.get("/reconciliation/exceptions", status="open"))["data"]
    assert [one["kind"] for one in listed] == ["ledger_invariant"] and "le_0000000000000002" in listed[0]["detail"]
    assert (await shop.get("/reconciliation/exceptions", status="open"))["data"] == []
    metrics = (await watched.world.http.get("/metrics")).text
    assert "ledgerline_ledger_ok 0.0" in metrics and 'ledgerline_ledger_payouts_stopped{currency="EUR"} 1.0' in metrics
    await alarmed(watched, "le_0000000000000002")

    assert_problem(await shop.post("/ledger/payout_stops/EUR/lift", {"note": "please"}), 403, "admin_key_required")
    assert_problem(await admin.post("/ledger/payout_stops/EUR/lift", {}), 422)
    note = {"note": "Entry 2 was altered by hand; restored from the replica, ticket 12."}
    lifted = await admin.post("/ledger/payout_stops/EUR/lift", note, key="lift-1")
    assert lifted.status_code == 200 and lifted.json()["status"] == "lifted", lifted.text
    again = await admin.post("/ledger/payout_stops/EUR/lift", note, key="lift-1")
    assert again.headers["Idempotent-Replayed"] == "true" and again.json() == lifted.json()
    assert_problem(await admin.post("/ledger/payout_stops/EUR/lift", note), 409, "payouts_not_stopped")
    records = (await admin.get("/audit/records", limit=100))["data"]
    assert {"payouts.stopped", "payouts.resumed"} <= {one["action"] for one in records}
    assert (await admin.get("/reconciliation/exceptions", status="open"))["data"] == []

    paid = await shop.post("/payouts", ORDER, key="later")
    assert paid.status_code in (201, 202), paid.text
    noted = await until(await report(admin, ok=True), "what a person has seen is not alarming any more")
    assert noted["violations"] and all(one["acknowledged"] for one in noted["violations"])
    await asyncio.sleep(1.0)
    assert await stopped(admin) == [], "a violation that a person knows of stops nothing again"
    await until(lambda: told(watched, "/v2/enqueue", 2), "PagerDuty is told of the end")
    assert watched.received("/v2/enqueue")[-1]["event_action"] == "resolve"


async def test_a_payout_that_meets_the_stop_after_the_door_waits_and_is_paid_once(watched: Watched) -> None:
    """Accepted before the stop, refused by the ledger: it says why it waits, and goes on when the stop is lifted."""
    shop, admin = await watched.world.shop(), await watched.world.admin()
    await funded_till(shop)
    await until(await report(admin, ok=True), "the watch has seen the funding")
    api_role = f"ALTER ROLE ledgerline_api IN DATABASE {watched.database.name}"
    async with await psycopg.AsyncConnection.connect(watched.database.admin_url) as connection:
        # The door is held open: what the API asks says no, what the ledger asks does not.
        await connection.execute("CREATE SCHEMA open_door")
        await connection.execute(
            "CREATE FUNCTION open_door.payouts_stopped(text) RETURNS boolean LANGUAGE sql AS 'SELECT false'"
        )
        await connection.execute("GRANT USAGE ON SCHEMA open_door TO ledgerline_api")
        await connection.execute(f"{api_role} SET search_path = open_door, public".encode())
    await watched.world.services.reads.dispose()
    try:
        await watched.tamper("UPDATE entries SET balance_minor = balance_minor + 7 WHERE id = 2")
        await until(lambda: stopped(admin), "payouts are stopped")
        held = await shop.post("/payouts", ORDER)
        assert held.status_code == 202 and held.json()["held_by"] == "payouts_stopped", held.text
        assert held.json()["next_check_at"] is not None
        assert (await shop.get("/accounts/acct_till/balance"))["posted"] == 5000, "nothing moves while stopped"
    finally:
        async with await psycopg.AsyncConnection.connect(watched.database.admin_url) as connection:
            await connection.execute(f"{api_role} RESET search_path".encode())
        await watched.world.services.reads.dispose()
    await watched.tamper("UPDATE entries SET balance_minor = balance_minor - 7 WHERE id = 2")
    assert (await admin.post("/ledger/payout_stops/EUR/lift", {"note": "entry 2 restored"})).status_code == 200
    payout_id = held.json()["id"]

    async def paid() -> bool:
        return bool((await shop.get(f"/payouts/{payout_id}"))["status"] == "paid")

    await until(paid, "the payout goes on by itself")
    assert (await shop.get("/accounts/acct_till/balance"))["posted"] == 4900


async def stopped(admin: Shop) -> list[str]:
    """The currencies whose payouts are stopped."""
    currencies: list[str] = (await admin.get("/ledger/invariants"))["payouts_stopped"]
    return currencies


async def told(watched: Watched, path: str, messages: int) -> bool:
    """Whether a receiver took so many."""
    return len(watched.received(path)) >= messages


async def alarmed(watched: Watched, entry: str) -> None:
    """Each receiver was told in its format, although each refused the first time."""
    for path in ("/hook", "/api/v2/alerts", "/v2/enqueue"):

        async def one(path: str = path) -> bool:
            return await told(watched, path, 1)

        await until(one, f"{path} is told")
    hook = watched.received("/hook")[0]
    assert (hook["version"], hook["status"], hook["alerts"][0]["labels"]["scope"]) == ("4", "firing", "EUR")
    (alert,) = watched.received("/api/v2/alerts")[0]
    assert alert["labels"]["alertname"] == "LedgerInvariantViolated" and alert["endsAt"] > alert["startsAt"]
    event = watched.received("/v2/enqueue")[0]
    assert (event["routing_key"], event["event_action"]) == (ROUTING_KEY, "trigger")
    assert event["payload"]["severity"] == "critical" and event["payload"]["custom_details"]["violations"] >= 1
    for text in (hook["commonAnnotations"]["description"], alert["annotations"]["description"]):
        assert entry in text and "acct_till" in text
