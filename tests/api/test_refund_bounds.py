"""What may be refunded, and what happens when the merchant's balance is too low, on everything real."""

import asyncio
import random
from typing import Any

from domain.identifiers import Mode
from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem
from tests.api.relay import tell
from tests.api.test_life_of_money import CARD, IBAN, await_status, balance

AMOUNT, FEE = 8420, 158


async def sale(shop: Shop, **fields: Any) -> Any:
    answer = await shop.post("/charges", {**CARD, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_rule_17_concurrent_refunds_and_a_chargeback_never_exceed_what_was_captured(
    real_shop: Shop, real_world: World
) -> None:
    dice = random.Random(17)
    for turn in range(3):
        charge = await sale(real_shop)
        await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": 50_000})
        before = (await balance(real_shop, charge["account"]))["posted"]
        amounts = [dice.randint(500, 4000) for _ in range(8)]
        notice = {
            "type": "dispute.created",
            "rail": charge["rail"],
            "rail_key": f"{charge['id']}:1",
            "reference": f"cb_{charge['id']}",
            "amount": 3000,
            "currency": "EUR",
            "reason": "fraudulent",
        }
        posts = [real_shop.post("/refunds", {"charge": charge["id"], "amount": amount}) for amount in amounts]
        *answers, told = await asyncio.gather(*posts, tell(real_world, notice))
        dispute = await await_status(real_shop, f"/disputes/{told.json()['notices'][0]['object']}", "needs_response")
        taken = sum(amount for amount, answer in zip(amounts, answers, strict=True) if answer.status_code == 201)
        assert {answer.status_code for answer in answers} <= {201, 422}
        for answer in answers:
            if answer.status_code == 422:
                assert_problem(answer, 422, "exceeds_refundable_amount")
        # The chargeback always posts; refunds accepted before it may stand, none after it goes too far.
        assert taken <= AMOUNT, turn
        left = max(AMOUNT - taken - 3000, 0)
        if left:
            rest = await real_shop.post("/refunds", {"charge": charge["id"]})
            assert rest.json()["amount"] == left and rest.status_code == 201
            taken += left
        assert_problem(await real_shop.post("/refunds", {"charge": charge["id"], "amount": 1}), 422)
        assert (await balance(real_shop, charge["account"]))["posted"] == before - taken - 3000 - dispute["fee"]


async def test_rule_17_a_refusal_moves_nothing_and_a_failed_refund_gives_its_headroom_back(real_shop: Shop) -> None:
    charge = await sale(real_shop, source="tok_refund_fails")
    await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": FEE})
    before = await balance(real_shop, charge["account"])
    over = await real_shop.post("/refunds", {"charge": charge["id"], "amount": AMOUNT + 1})
    assert_problem(over, 422, "exceeds_refundable_amount")
    now = await balance(real_shop, charge["account"])
    assert (now["posted"], now["pending_debits"]) == (before["posted"], 0)
    failing = (await real_shop.post("/refunds", {"charge": charge["id"]})).json()
    assert failing["status"] == "pending"
    while_open = await real_shop.post("/refunds", {"charge": charge["id"], "amount": 1})
    assert_problem(while_open, 422, "exceeds_refundable_amount")
    await await_status(real_shop, f"/refunds/{failing['id']}", "failed")
    again = await real_shop.post("/refunds", {"charge": charge["id"]})
    assert (again.status_code, again.json()["amount"]) == (201, AMOUNT)


async def test_rule_19_a_refund_waits_for_funds_and_goes_on_when_they_come(real_shop: Shop) -> None:
    charge = await sale(real_shop)
    answer = await real_shop.post("/refunds", {"charge": charge["id"]}, key="all")
    assert (answer.status_code, answer.json()["pending_reason"]) == (201, "awaiting_funds"), answer.text
    refund = answer.json()
    assert refund["status"] == "pending" and refund["waits_until"] is not None
    assert (await balance(real_shop, charge["account"]))["available"] == AMOUNT - FEE
    repeated = await real_shop.post("/refunds", {"charge": charge["id"]}, key="all")
    assert repeated.json()["id"] == refund["id"] and repeated.headers["idempotent-replayed"] == "true"
    # Its amount counts against the charge while it waits.
    assert_problem(await real_shop.post("/refunds", {"charge": charge["id"], "amount": 1}), 422)
    await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": FEE})
    await await_status(real_shop, f"/refunds/{refund['id']}", "succeeded")
    assert (await balance(real_shop, charge["account"]))["posted"] == 0
    late = await real_shop.post(f"/refunds/{refund['id']}/cancel")
    assert_problem(late, 409, "refund_already_succeeded")


async def test_rule_19_a_waiting_refund_is_cancelled(real_shop: Shop) -> None:
    charge = await sale(real_shop)
    refund = (await real_shop.post("/refunds", {"charge": charge["id"]})).json()
    path = f"/refunds/{refund['id']}/cancel"
    answer = await real_shop.post(path, key="stop")
    assert (answer.json()["status"], answer.json()["failure_code"]) == ("failed", "canceled"), answer.text
    again = await real_shop.post(path, key="stop")
    assert again.json()["status"] == "failed" and again.headers["idempotent-replayed"] == "true"
    part = await real_shop.post("/refunds", {"charge": charge["id"], "amount": 1000})
    assert part.json()["status"] == "succeeded", "its headroom is back"


async def test_rule_19_negative_to_a_limit_blocks_payouts_not_charges(real_shop: Shop) -> None:
    policy = {"on_low_balance": "negative", "negative_limits": {"EUR": 1000}}
    stored = await real_shop.send("PUT", "/refunds/policy", json=policy)
    assert stored.status_code == 200 and stored.json()["wait_seconds_max"] == 604_800, stored.text
    assert (await real_shop.get("/refunds/policy"))["negative_limits"] == {"EUR": 1000}
    charge = await sale(real_shop)
    account = charge["account"]
    refund = (await real_shop.post("/refunds", {"charge": charge["id"]})).json()
    assert refund["status"] == "succeeded" and (await balance(real_shop, account))["posted"] == -FEE
    payout = {"amount": 1, "currency": "EUR", "source": account, "destination": IBAN}
    assert_problem(await real_shop.post("/payouts", payout), 422, "exceeds_available_balance")
    # 8262 arrive, so 8104 are there: a refund of 9105 would leave less than -1000, one of 9104 does not.
    big = await sale(real_shop, amount=20_000)
    spent = (await balance(real_shop, account))["posted"]
    await real_shop.post("/payouts", {**payout, "amount": spent - 8104})
    assert (await balance(real_shop, account))["posted"] == 8104
    over = await real_shop.post("/refunds", {"charge": big["id"], "amount": 9105})
    assert_problem(over, 422, "exceeds_available_balance")
    assert (await balance(real_shop, account))["posted"] == 8104
    fits = await real_shop.post("/refunds", {"charge": big["id"], "amount": 9104})
    assert fits.json()["status"] == "succeeded" and (await balance(real_shop, account))["posted"] == -1000
    more = await sale(real_shop)
    assert more["status"] == "settled" and (await balance(real_shop, account))["posted"] == AMOUNT - FEE - 1000
    assert (await real_shop.get("/ledger/invariants"))["ok"] is True


async def test_a_payout_makes_no_debt_even_where_the_account_may_have_one(real_shop: Shop) -> None:
    opened = await real_shop.post("/accounts", {"currency": "EUR", "id": "acct_credit", "min_balance": -5000})
    assert opened.status_code == 201, opened.text
    await real_shop.post("/accounts/acct_credit/fund", {"amount": 100})
    payout = {"amount": 101, "currency": "EUR", "source": "acct_credit", "destination": IBAN}
    assert_problem(await real_shop.post("/payouts", payout), 422, "exceeds_available_balance")
    assert (await real_shop.post("/payouts", {**payout, "amount": 100})).status_code in (201, 202)


async def test_a_negative_balance_is_granted_by_an_administrator_in_live_mode(world: World) -> None:
    from_merchant = await world.shop("Live", mode=Mode.LIVE)
    body = {"on_low_balance": "negative", "negative_limits": {"EUR": 5}}
    refused = await from_merchant.send("PUT", "/refunds/policy", json=body)
    assert_problem(refused, 403, "admin_key_required")
    admin = await world.admin()
    assert_problem(await admin.send("PUT", "/refunds/policy", json=body), 422, "merchant_required", "merchant")
    granted = await admin.send(
        "PUT", "/refunds/policy", json={**body, "merchant": from_merchant.merchant_id, "mode": "live"}
    )
    assert granted.status_code == 200, granted.text
    assert (await from_merchant.get("/refunds/policy"))["on_low_balance"] == "negative"
