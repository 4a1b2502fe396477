"""Charge a card, auto-route, settle to a payout: one call, and the money moves once."""

import asyncio
from typing import Any

import httpx

from tests.api.conftest import Shop
from tests.api.problems import assert_problem
from tests.api.test_life_of_money import CARD, IBAN, await_status, balance

PAYOUT = {"destination": IBAN}


def payouts_at_the_rails(rails_sandbox: str, payout_id: str) -> list[dict[str, Any]]:
    """What the rails did of a payout."""
    operations = httpx.get(f"{rails_sandbox}/truth", trust_env=False).json()["operations"]
    return [row for row in operations if row["rail_key"].startswith(f"{payout_id}:")]


async def test_a_charge_settles_to_a_payout_in_one_call(real_shop: Shop, rails_sandbox: str) -> None:
    body = {**CARD, "payout": PAYOUT}
    answer = await real_shop.post("/charges", body, key="one call")
    assert answer.status_code == 201, answer.text
    charge = answer.json()
    assert charge["status"] == "settled" and charge["payout"]["id"].startswith("po_")
    payout = await await_status(real_shop, f"/payouts/{charge['payout']['id']}", "paid")
    assert (payout["amount"], payout["source"], payout["metadata"]) == (
        8262,
        charge["account"],
        {"charge": charge["id"]},
    )
    shown = await real_shop.get(f"/charges/{charge['id']}")
    assert (shown["payout"]["status"], shown["payout"]["amount"]) == ("paid", 8262)
    await real_shop.post("/charges", body, key="one call")
    assert (await balance(real_shop, charge["account"]))["posted"] == 0
    assert [row["amount"] for row in payouts_at_the_rails(rails_sandbox, payout["id"])] == [8262]
    events = [event["type"] for event in (await real_shop.get("/events", limit=50))["data"]]
    assert [name for name in events if name.startswith("payout.")] == ["payout.processing", "payout.paid"]


async def test_a_charge_that_ends_without_money_pays_nothing_out(real_shop: Shop) -> None:
    declined = await real_shop.post("/charges", {**CARD, "source": "tok_declined_hard", "payout": PAYOUT})
    assert_problem(declined, 402, "card_declined")
    assert declined.json()["charge"]["payout"]["status"] == "waiting"
    held = (await real_shop.post("/charges", {**CARD, "capture": False, "payout": PAYOUT})).json()
    assert (await real_shop.post(f"/charges/{held['id']}/void")).status_code == 200
    await asyncio.sleep(0.5)
    assert (await real_shop.get("/payouts"))["data"] == []


async def test_a_capture_later_pays_out_what_was_captured(real_shop: Shop) -> None:
    payout = {**PAYOUT, "amount": 2_000, "rail": "bank_instant"}
    held = (await real_shop.post("/charges", {**CARD, "capture": False, "payout": payout})).json()
    assert (await real_shop.get("/payouts"))["data"] == []
    await real_shop.post(f"/charges/{held['id']}/capture", {"amount": 5_000})
    paid = await await_status(real_shop, f"/payouts/{held['payout']['id']}", "paid")
    assert (paid["amount"], paid["rail"]) == (2_000, "bank_instant")
    # 50.00 less the fee of 1.40 % + 0.40, less the 20.00 paid out.
    assert (await balance(real_shop, held["account"]))["posted"] == 5_000 - 110 - 2_000


async def test_a_charge_that_settles_later_waits(real_shop: Shop) -> None:
    charge = (await real_shop.post("/charges", {**CARD, "rail": "card_gamma", "payout": PAYOUT})).json()
    assert charge["status"] == "captured"
    await asyncio.sleep(1.5)
    assert (await real_shop.get(f"/charges/{charge['id']}"))["payout"]["status"] == "waiting"
    assert (await real_shop.get("/payouts"))["data"] == []


async def test_a_payout_that_fails_leaves_the_money_on_the_account(real_shop: Shop) -> None:
    closed = {"destination": {**IBAN, "name": "DECLINE"}}
    charge = (await real_shop.post("/charges", {**CARD, "payout": closed})).json()
    await await_status(real_shop, f"/payouts/{charge['payout']['id']}", "failed")
    assert (await real_shop.get(f"/charges/{charge['id']}"))["status"] == "settled"
    assert (await balance(real_shop, charge["account"]))["posted"] == 8262


async def test_what_cannot_be_paid_out_is_refused_before_the_card_is_charged(real_shop: Shop) -> None:
    chain = {"destination": {"type": "usdc", "address": "0x" + "0" * 40, "chain": "base"}}
    assert_problem(await real_shop.post("/charges", {**CARD, "payout": chain}), 422, "currency_mismatch")
    too_much = {**PAYOUT, "amount": 8421}
    answer = await real_shop.post("/charges", {**CARD, "payout": too_much})
    assert_problem(answer, 422, "payout_exceeds_charge", "payout.amount")
    assert (await real_shop.get("/charges"))["data"] == []
