"""Reconciliation when processes die half-way, other kinds of lines, and the exceptions that are not a file's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domain.identifiers import Mode
from domain.ledger import Posting, PostingResult
from domain.settlement import Settlement
from operations import file_intake, reconciliation
from operations.settlements import settle_charge
from tests.api.conftest import Shop, World, opened_world
from tests.api.problems import assert_problem
from tests.api.relay import notices_about, tell
from tests.api.test_callbacks import chargeback, signed
from tests.api.test_life_of_money import IBAN, await_status, balance
from tests.api.test_reconciliation import change, charged, counts, decide, moved, now, opened, said, taken, upload
from tests.api.test_reconciliation import whole_file as rail_file
from tests.reconciliation.files import Said
from workflows.policies import BACKGROUND_QUEUE
from workflows.reconciliation import ReconcileFile, ReconciliationWorkflow


@pytest.fixture
async def world(database: Any, temporal: Any, rails_sandbox: str, tmp_path: Path) -> AsyncIterator[World]:
    """The API with both workers, and no terms: nothing is tolerated."""
    async with opened_world(database, temporal, rails_sandbox, tmp_path / "home", background=True) as opened:
        yield opened


@pytest.fixture
async def shop(world: World) -> Shop:
    """A merchant."""
    return await world.shop()


async def test_rule_30_a_worker_that_dies_half_way_posts_nothing_twice(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies after commits it never learns of, and before others; the page runs again, and then the whole file."""
    charges = [await charged(shop) for _ in range(6)]
    before = await moved(world)
    book, lines_seen = world.services.book, 0
    post = book.post

    async def dying(posting: Posting) -> PostingResult:
        nonlocal lines_seen
        if not posting.key.startswith("line_"):
            return await post(posting)
        lines_seen += 1
        if lines_seen % 3 == 0:
            raise ConnectionError("killed before the commit")
        result = await post(posting)
        if lines_seen % 3 == 1 and lines_seen < 12:
            raise ConnectionError("killed after the commit")
        return result

    monkeypatch.setattr(book, "post", dying)
    monkeypatch.setattr(reconciliation, "PAGE", 4)
    lines = [said(one, gross=8420 + (5 if one is charges[3] else 0)) for one in charges]
    document = await taken(shop, rail_file(lines))
    assert counts(document) == (6, 5, 1, 0, 0) and lines_seen > 6
    once = change(before, await moved(world))
    assert once == {"rail_clearing:card_gamma": 5 * 62, "rail_cost:card_gamma": -5 * 62}
    again = await world.services.temporal.start_workflow(
        ReconciliationWorkflow.run,
        ReconcileFile(file_id=document["id"]),
        id=f"again:{document['id']}",
        task_queue=BACKGROUND_QUEUE,
    )
    assert await again.result() == document["id"]
    assert change(before, await moved(world)) == once and len(await opened(shop)) == 1
    assert await shop.get(f"/reconciliation/files/{document['id']}") == document


async def test_a_file_that_was_stored_and_not_started_is_started_later(
    world: World, shop: Shop, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = rail_file([said(await charged(shop))])

    async def away(*_: Any, **__: Any) -> bool:
        raise ConnectionError("the workflow service is away")

    with monkeypatch.context() as broken:
        broken.setattr(file_intake, "start_once", away)
        assert_problem(await upload(shop, content), 503)
    (stored,) = (await shop.get("/reconciliation/files"))["data"]
    assert stored["status"] == "processing"
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        connection.execute("UPDATE reconciliation_files SET created_at = created_at - interval '1 minute'")
    files = world.services.files
    assert isinstance(files, file_intake.FileIntake)
    assert (await files.resume(), await files.resume()) == (1, 0)
    assert counts(await taken(shop, content, status=200)) == (1, 1, 0, 0, 0)


async def test_chargebacks_and_payouts_are_confirmed_by_their_lines(world: World, shop: Shop) -> None:
    charge = await charged(shop)
    body = chargeback(charge)
    assert (await world.http.post("/v1/rails/sandbox/callbacks", content=body, headers=signed(body))).status_code == 200
    async with asyncio.timeout(15):
        while not (disputes := (await shop.get("/disputes", charge=charge["id"]))["data"]):
            await asyncio.sleep(0.05)
    back = said(charge, kind="chargeback", reference=f"cb-{charge['id']}", gross=-8420, fee=1500)
    before = await moved(world)
    assert counts(await taken(shop, rail_file([said(charge), back]))) == (2, 2, 0, 0, 0)
    assert change(before, await moved(world))["rail_cost:card_gamma"] == -1562
    assert disputes[0]["status"] == "needs_response"
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_till"})
    await shop.post("/accounts/acct_till/fund", {"amount": 5000})
    order = {"amount": 5000, "currency": "EUR", "source": "acct_till", "rail": "payout_batch", "destination": IBAN}
    payout = (await shop.post("/payouts", order)).json()
    line = Said(kind="payout", reference=payout["id"], order=f"{payout['id']}:1", gross=-5000, fee=8, booked_at=now())
    assert counts(await taken(shop, rail_file([line]), party="payout_batch"))[:3] == (1, 1, 0)
    await await_status(shop, f"/payouts/{payout['id']}", "paid")


async def test_exceptions_of_settlements_and_notices_are_closed_too(
    world: World, shop: Shop, rails_sandbox: str
) -> None:
    charge = await charged(shop)
    settlement = Settlement(
        charge_id=charge["id"],
        merchant_id=shop.merchant_id,
        mode=Mode.TEST,
        rail="card_gamma",
        reference="s-1",
        gross_minor=8000,
        currency="EUR",
    )
    await settle_charge(world.services.temporal, settlement)
    async with asyncio.timeout(15):
        while not (found := await opened(shop, status="open")):
            await asyncio.sleep(0.05)
    assert found[0]["kind"] == "settlement_differs"
    before = await moved(world)
    assert (await decide(shop, found[0], action="write_off", amount=-420)).status_code == 200
    assert change(before, await moved(world)) == {"rail_clearing:card_gamma": 420, "rail_cost:card_gamma": -420}
    payout = await returned_payout(world, shop, rails_sandbox)
    (first, second) = await opened(shop, status="open")
    assert {first["kind"], second["kind"]} == {"money_in_suspense", "contradicting_notice"}
    suspended, contradicting = sorted((first, second), key=lambda one: one["kind"] != "money_in_suspense")
    assert (await decide(shop, contradicting, action="accept")).status_code == 200
    assert_problem(await decide(shop, suspended, action="accept"), 422, "action_not_possible")
    before = await moved(world)
    credit = {"action": "credit_account", "account": charge["account"]}
    closed = await decide(shop, suspended, **credit)
    assert closed.status_code == 200 and closed.json()["resolution"]["ledger_transaction"], closed.text
    assert change(before, await moved(world)) == {"suspense": -5000} and payout["status"] == "returned"
    assert (await balance(shop, charge["account"]))["posted"] == 8420 - charge["fee"] + 5000
    assert (await shop.get("/ledger/invariants"))["ok"] is True


async def returned_payout(world: World, shop: Shop, rails_sandbox: str) -> dict[str, Any]:
    """A payout that comes back, twice as the rail says, to an account that is closed."""
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_gone"})
    await shop.post("/accounts/acct_gone/fund", {"amount": 5000})
    order = {"amount": 5000, "currency": "EUR", "source": "acct_gone", "rail": "bank_instant"}
    payout = (await shop.post("/payouts", {**order, "destination": {**IBAN, "name": "RETURN TWICE Ltd"}})).json()
    await await_status(shop, f"/payouts/{payout['id']}", "paid")
    assert (await shop.send("PATCH", "/accounts/acct_gone", json={"status": "closed"})).status_code == 200
    first, second = await notices_about(rails_sandbox, payout["id"], 2)
    assert (await tell(world, first)).status_code == 200
    await await_status(shop, f"/payouts/{payout['id']}", "returned")
    assert (await tell(world, second)).status_code == 200
    async with asyncio.timeout(15):
        while len(await opened(shop, status="open")) < 2:
            await asyncio.sleep(0.05)
    document: dict[str, Any] = await shop.get(f"/payouts/{payout['id']}")
    return document
