"""A card of the vault through the ISO 8583 acquirer, switched on by one line, on everything real."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Shop
from tests.conftest import TestDatabase
from tests.rails.acquirer_process import AcquirerProcess

CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031}


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database for each test: the vault's keys are in the home, which is new each time."""
    return fresh_database


@pytest.fixture
def acquirer(tmp_path: Path) -> Iterator[AcquirerProcess]:
    """The acquirer, and the line in rails.toml of the home that the API is about to open."""
    folder, home = tmp_path / "acquirer", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    process = AcquirerProcess(folder)
    process.start()
    line = f'{{ provider = "iso8583", address = "127.0.0.1:{process.port}", terminal = "TERM0001", merchant = "SHOP" }}'
    (home / "rails.toml").write_text(f"cards = {line}\n")
    yield process
    process.stop()


async def until(shop: Shop, path: str, *statuses: str) -> Any:
    async with asyncio.timeout(30):
        while (found := await shop.get(path))["status"] not in statuses:
            await asyncio.sleep(0.05)
    return found


async def test_a_card_is_authorized_captured_and_refunded(acquirer: AcquirerProcess, real_shop: Shop) -> None:
    token = (await real_shop.post("/tokens", {"card": CARD})).json()["id"]
    body = {"amount": 8420, "currency": "EUR", "source": token, "rail": "cards", "capture": False}
    charge = (await real_shop.post("/charges", body)).json()
    assert (charge["status"], charge["rail"]) == ("authorized", "cards"), charge
    captured = await real_shop.post(f"/charges/{charge['id']}/capture", {"amount": 8000})
    assert captured.status_code == 200 and captured.json()["status"] == "captured", captured.text
    refund = (await real_shop.post("/refunds", {"charge": charge["id"], "amount": 3000})).json()
    assert refund["status"] == "succeeded", refund
    (purchase,) = acquirer.truth()["purchases"]
    assert (purchase["rail_key"], purchase["kind"]) == (f"{charge['id']}:1", "authorize")
    assert (purchase["amount"], purchase["captured"], purchase["refunded"]) == (8420, 8000, 3000)
    assert (await real_shop.get("/ledger/invariants"))["ok"] is True


async def test_a_sale_nobody_answered_is_taken_back_and_leaves_no_money(
    acquirer: AcquirerProcess, real_shop: Shop
) -> None:
    token = (await real_shop.post("/tokens", {"card": CARD})).json()["id"]
    acquirer.inject("silent_after")
    body = {"amount": 8420, "currency": "EUR", "source": token, "rail": "cards"}
    answer = await real_shop.post("/charges", body)
    assert (answer.status_code, answer.json()["status"]) == (202, "unknown"), answer.text
    charge = await until(real_shop, f"/charges/{answer.json()['id']}", "declined")
    assert charge["attempts"][0]["decline_code"] == "reversed_unanswered"
    assert charge["attempts"][0]["decline_class"] == "try_later"
    (purchase,) = acquirer.truth()["purchases"]
    assert purchase["standing"] == "reversed"
    trial = await real_shop.get("/ledger/trial_balance")
    assert all(row["posted"] == 0 for row in trial["accounts"])
