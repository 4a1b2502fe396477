"""Many events, killed workers, a receiver that fails, hangs and answers late; then everything is counted.

`python -m tests.events.deluge [--events 20000] [--kills 5] [--seed 1]` runs it whole; the suite a small one.
"""

import argparse
import asyncio
import contextlib
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from ledgerline_sdk import SqliteCursorStore, WebhookConsumer, verify_chain
from psycopg.rows import dict_row

from activities.webhook_secrets import WebhookSecrets
from domain.identifiers import new_identifier
from domain.webhooks import EndpointChange
from embedded.postgres import EmbeddedPostgres
from embedded.processes import free_port
from embedded.temporal import EmbeddedTemporal
from events.cursor import event_document, events_after
from ledger.migrate import migrate
from ledger.posting import Poster
from tests.events.delivering import open_pool, sealer_of
from tests.events.receiver import Received, Receiver, Reply
from tests.ledger.postings import World as Merchant

WRITERS = 8
FAILING, LATE, HANGING, TOO_LATE = 0.30, 0.01, 0.0005, 0.0005
QUIET_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much happens, and how often the delivery worker is killed meanwhile."""

    events: int
    kills: int
    seed: int = 1


@dataclass
class Shopkeeper:
    """A merchant's server: the SDK's consumer behind a network that cannot be relied on."""

    name: str
    receiver: Receiver
    consumer: WebhookConsumer
    store: SqliteCursorStore
    chance: random.Random
    arrived: list[int] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    failures: int = 0

    def answer(self, request: Received) -> Reply:
        """Take a delivery, or fail in one of the ways servers do."""
        sequence = request.event["sequence"]
        self.arrived.append(sequence)
        drawn = self.chance.random()
        if drawn < HANGING:
            return Reply(delay_seconds=3)
        if drawn < HANGING + FAILING:
            self.failures += 1
            return self.chance.choice((Reply(500), Reply(503), Reply(0), Reply(302)))
        self.consumer.receive(request.headers, request.body)
        if drawn > 1 - TOO_LATE:
            return Reply(delay_seconds=3)
        self.taken.add(sequence)
        return Reply(delay_seconds=self.chance.uniform(0, 0.1) if drawn > 1 - TOO_LATE - LATE else 0)

    def handled(self) -> list[int]:
        """The sequences the handler counted, in the order it did."""
        with self.store.transaction() as position:
            rows = position.connection.execute("SELECT sequence FROM handled ORDER BY rowid").fetchall()
        return [row[0] for row in rows]


def count(event: dict[str, Any], connection: Any) -> None:
    """What the merchant does with an event."""
    connection.execute("INSERT INTO handled (sequence) VALUES (?)", (event["sequence"],))


async def flood(plan: Plan, app_url: str, temporal_address: str, folder: Path) -> dict[str, Any]:
    """Let it happen, and return what was counted. Asserts everything the project promises of events."""
    merchant, started = Merchant(), time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        shops = [
            await stack.enter_async_context(_shop(plan, merchant, app_url, folder, ordering))
            for ordering in ("strict", "parallel")
        ]
        writing = asyncio.create_task(_write(plan, merchant, app_url))
        killed = await _kill_and_wait(plan, shops, writing, app_url, temporal_address, folder)
        await writing
        total = await _audit(merchant, app_url)
        for shop in shops:
            _judge(shop, total)
    return {
        "events": total,
        "killed": killed,
        "seconds": round(time.monotonic() - started, 1),
        **{f"{one.name} requests": len(one.arrived) for one in shops},
        **{f"{one.name} failures": one.failures for one in shops},
    }


def _judge(shop: Shopkeeper, total: int) -> None:
    everything = list(range(1, total + 1))
    handled = shop.handled()
    assert handled == everything, f"{shop.name}: handled {len(handled)} of {total}, or one twice, or out of order"
    assert shop.taken == set(everything), f"{shop.name}: something was never taken"
    if shop.name == "strict":
        assert list(dict.fromkeys(shop.arrived)) == everything, "out of order"


async def _audit(merchant: Merchant, app_url: str) -> int:
    """Check the sequence 1..N and the chain; return N."""
    found = [event for event in _pull(merchant, app_url, 0)]
    assert [event["sequence"] for event in found] == list(range(1, len(found) + 1))
    assert verify_chain(found) == len(found)
    return len(found)


def _pull(merchant: Merchant, app_url: str, after: int) -> Any:
    with psycopg.connect(app_url, autocommit=True, row_factory=dict_row) as connection:
        while True:
            query, parameters = events_after(merchant.merchant_id, "test", after=after, limit=500)
            rows = connection.execute(query.encode(), parameters).fetchall()
            yield from map(event_document, rows)
            if len(rows) < 500:
                return
            after = rows[-1]["sequence"]


@contextlib.asynccontextmanager
async def _shop(plan: Plan, merchant: Merchant, app_url: str, folder: Path, ordering: str) -> AsyncIterator[Shopkeeper]:
    store = SqliteCursorStore(folder / f"{ordering}.db")
    with store.transaction() as position:
        position.connection.execute("CREATE TABLE handled (sequence INTEGER NOT NULL)")
    async with Receiver() as receiver, open_pool(app_url) as pool:
        secret = await _endpoint(merchant, app_url, WebhookSecrets(pool, sealer_of(folder)), receiver.url, ordering)
        consumer = WebhookConsumer(
            secrets=[secret], store=store, handle=count, pull=lambda after: _pull(merchant, app_url, after)
        )
        shop = Shopkeeper(ordering, receiver, consumer, store, random.Random(f"{plan.seed}/{ordering}"))
        receiver.answer = shop.answer
        yield shop
    store.close()


async def _endpoint(merchant: Merchant, app_url: str, keeper: WebhookSecrets, url: str, ordering: str) -> str:
    endpoint_id = new_identifier("we")
    shown, sealed = keeper.issue(endpoint_id, ["v1"])
    document = {
        **{"id": endpoint_id, "object": "webhook_endpoint", "status": "enabled", "url": url, "description": None},
        **{"event_types": ["*"], "ordering": ordering, "in_flight_max": 8, "signatures": ["v1"], "public_key": None},
        **{"disabled_reason": None, "metadata": {}, "livemode": False, "created_at": "2026-11-26T00:00:00.000000Z"},
    }
    internal = {"secrets": sealed, "start_after": 0}
    change = EndpointChange(
        document=document,
        version=1,
        verb="created",
        merchant_id=merchant.merchant_id,
        actor="test",
        internal=internal,
    )
    poster = Poster(app_url)
    await poster.start()
    await poster.post(change.posting())
    await poster.stop()
    return shown["secret"]


async def _write(plan: Plan, merchant: Merchant, app_url: str) -> None:
    """Eight writers, each with a connection of its own, in competition for the ledger's turn."""

    async def writer(number: int) -> None:
        poster = Poster(app_url)
        await poster.start()
        own = range(number, plan.events, WRITERS)
        for start in range(0, len(own), 4):
            records = [merchant.charge(f"ch_{merchant.merchant_id}_{n}") for n in own[start : start + 4]]
            await asyncio.gather(
                *(
                    poster.post(merchant.posting(key=f"{one.id}:1", records=(one,), events=(merchant.event(one),)))
                    for one in records
                )
            )
        await poster.stop()

    await asyncio.gather(*(writer(number) for number in range(WRITERS)))


async def _kill_and_wait(
    plan: Plan,
    shops: list[Shopkeeper],
    writing: "asyncio.Task[None]",
    app_url: str,
    temporal_address: str,
    folder: Path,
) -> int:
    """Run the delivery worker as a process, kill it now and then, and wait until everything has arrived."""
    total = plan.events + len(shops)
    command = [sys.executable, "-m", "tests.events.delivering", app_url, temporal_address, str(folder)]
    killed, moved_at, seen = 0, time.monotonic(), -1
    worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        while any(len(shop.taken) < total for shop in shops):
            taken = sum(len(shop.taken) for shop in shops)
            if taken != seen:
                moved_at, seen = time.monotonic(), taken
            assert time.monotonic() - moved_at < QUIET_SECONDS_MAX, f"nothing moves any more at {taken}"
            assert not (writing.done() and writing.exception()), writing.exception()
            # Spread over the strict endpoint's way, which is the longer one.
            if killed < plan.kills and len(shops[0].taken) > total * (killed + 1) / (plan.kills + 1):
                worker.kill()
                await worker.wait()
                killed += 1
                worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
            await asyncio.sleep(0.05)
    finally:
        worker.kill()
        await worker.wait()
    return killed


def main() -> None:
    """Run it whole, on servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="ledgerline-deluge-"))
    home.chmod(0o711)
    database, temporal = EmbeddedPostgres(home, free_port(), secrets.token_hex(16)), None
    try:
        database.start()
        password = secrets.token_hex(16)
        migrate(database.admin_url, app_password=password, api_password=password)
        (home / "temporal").mkdir()
        temporal = EmbeddedTemporal(home / "temporal", free_port(), None)
        temporal.start()
        app_url = database.url("ledgerline_app", password, "postgres")
        plan = Plan(events=given.events, kills=given.kills, seed=given.seed)
        print(asyncio.run(flood(plan, app_url, temporal.address, home)), flush=True)
    finally:
        if temporal is not None:
            temporal.stop()
        database.stop()
        shutil.rmtree(home, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
