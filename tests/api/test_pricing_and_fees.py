"""Plans, tiers, fee returns and settlement on everything real."""

import asyncio
from typing import Any

import httpx

from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem
from tests.api.relay import notices_about, tell
from tests.api.test_life_of_money import CARD, await_status, balance

TIERS = {
    "name": "gold",
    "lines": [
        {
            "currency": "EUR",
            "tiers": [
                {"from": 0, "basis_points": 140, "fixed": 40},
                {"from": 8420, "basis_points": 100, "fixed": 10},
            ],
        }
    ],
}


async def put_plan(world: World, shop: Shop, **plan: Any) -> httpx.Response:
    admin = await world.admin()
    return await admin.send("PUT", "/pricing", json={"merchant": shop.merchant_id, **plan})


async def test_the_price_falls_with_the_months_volume(real_shop: Shop, real_world: World) -> None:
    listed = await real_shop.get("/pricing")
    assert listed["prices"]["EUR"] == {"basis_points": 140, "fixed": 40} and listed["month_volumes"] == {}
    assert_problem(await real_shop.send("PUT", "/pricing", json={"merchant": real_shop.merchant_id}), 403)
    bad = {"lines": [{"currency": "EUR", "tiers": [{"from": 5, "basis_points": 1, "fixed": 0}]}]}
    assert_problem(await put_plan(real_world, real_shop, **bad), 422, "tiers_out_of_order")
    stored = await put_plan(real_world, real_shop, **TIERS)
    assert stored.status_code == 200 and stored.json()["name"] == "gold", stored.text
    first = (await real_shop.post("/charges", CARD)).json()
    second = (await real_shop.post("/charges", CARD)).json()
    assert (first["fee"], second["fee"]) == (158, 84 + 10)
    assert (second["pricing"]["month_volume"], second["pricing"]["prices"][0]["tier_from"]) == (8420, 8420)
    shown = await real_shop.get("/pricing")
    assert shown["month_volumes"] == {"EUR": 16_840} and shown["prices"]["EUR"]["basis_points"] == 100
    assert shown["lines"][0]["current_tier"] == 8420
    held = (await real_shop.post("/charges", {**CARD, "capture": False})).json()
    assert (await real_shop.get("/pricing"))["month_volumes"] == {"EUR": 16_840}, "what is held has not moved"
    await real_shop.post(f"/charges/{held['id']}/capture", {"amount": 1000})
    assert (await real_shop.get("/pricing"))["month_volumes"] == {"EUR": 17_840}
    other = await real_world.shop()
    assert (await other.get("/pricing"))["month_volumes"] == {}


async def test_rule_20_refunds_in_parts_and_at_once_return_exactly_the_fee(real_shop: Shop, real_world: World) -> None:
    await put_plan(real_world, real_shop, refund_fee="prorata")
    charge = (await real_shop.post("/charges", CARD)).json()
    account = charge["account"]
    await real_shop.post(f"/accounts/{account}/fund", {"amount": 1000})
    parts = [1111, 2222, 3333, 1754]
    answers = await asyncio.gather(
        *[real_shop.post("/refunds", {"charge": charge["id"], "amount": part}) for part in parts]
    )
    assert [answer.status_code for answer in answers] == [201] * 4
    for _ in range(100):
        refunds = (await real_shop.get("/refunds", charge=charge["id"]))["data"]
        if sum(one["fee_returned"] for one in refunds) == 158:
            break
        await asyncio.sleep(0.05)
    assert sum(one["fee_returned"] for one in refunds) == 158, refunds
    assert (await balance(real_shop, account))["posted"] == 1000
    assert (await real_shop.get("/ledger/invariants"))["ok"] is True


async def test_rule_20_by_default_a_refund_returns_no_fee(real_shop: Shop) -> None:
    charge = (await real_shop.post("/charges", CARD)).json()
    await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": 158})
    refund = (await real_shop.post("/refunds", {"charge": charge["id"]})).json()
    assert (refund["status"], refund["fee_returned"]) == ("succeeded", 0)
    assert (await balance(real_shop, charge["account"]))["posted"] == 0


async def test_rule_20_a_fee_that_went_back_is_taken_again_when_the_refund_fails_late(
    real_shop: Shop, real_world: World, rails_sandbox: str
) -> None:
    await put_plan(real_world, real_shop, refund_fee="full")
    charge = (await real_shop.post("/charges", {**CARD, "source": "tok_refund_fails_late"})).json()
    await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": 158})
    refund = (await real_shop.post("/refunds", {"charge": charge["id"]})).json()
    path = f"/refunds/{refund['id']}"
    await returned(real_shop, path, 158)
    assert (await balance(real_shop, charge["account"]))["posted"] == 158
    (notice,) = await notices_about(rails_sandbox, refund["id"])
    assert (await tell(real_world, notice)).status_code == 200
    await await_status(real_shop, path, "failed")
    await returned(real_shop, path, 0)
    assert (await balance(real_shop, charge["account"]))["posted"] == 8420


async def returned(shop: Shop, path: str, fee: int) -> None:
    for _ in range(100):
        if (await shop.get(path))["fee_returned"] == fee:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(await shop.get(path))


async def test_rule_28_captured_is_settled_by_the_rails_word_with_the_true_up(
    real_shop: Shop, real_world: World, rails_sandbox: str
) -> None:
    line = {"currency": "EUR", "tiers": [{"basis_points": 100, "fixed": 0}]}
    await put_plan(real_world, real_shop, model="cost_plus", lines=[line])
    charge = (await real_shop.post("/charges", {**CARD, "rail": "card_gamma"})).json()
    # 1.00 % is 84; the rail's 0.50 % + 20 is estimated at 62.1, so 62.
    assert (charge["status"], charge["fee"]) == ("captured", 84 + 62)
    async with httpx.AsyncClient(trust_env=False) as client:
        settled = await client.post(f"{rails_sandbox}/rails/card_gamma/settle", json={"basis_points": 60, "fixed": 20})
    assert settled.json()["settled"] >= 1
    (notice,) = await notices_about(rails_sandbox, charge["id"])
    answers = [await tell(real_world, notice) for _ in range(2)]
    assert [answer.json()["duplicate"] for answer in answers] == [False, True], answers[0].text
    shown = await await_status(real_shop, f"/charges/{charge['id']}", "settled")
    assert (shown["fee"], shown["net"]) == (84 + 71, 8420 - 155)
    assert shown["settlements"][0]["rail_fee"] == 71 and shown["settlements"][0]["fee_true_up"] == 9
    assert (await balance(real_shop, charge["account"]))["posted"] == 8420 - 155
    kinds = [one["kind"] for one in (await real_shop.get(f"/accounts/{charge['account']}/entries"))["data"]]
    assert kinds == ["fee_true_up", "charge_fee", "charge_capture"]
    assert (await real_shop.get("/ledger/invariants"))["ok"] is True
