"""Refunds that fail and payouts that come back after the rail had said yes, on everything real."""

import asyncio

from tests.api.conftest import Shop, World
from tests.api.relay import notices_about, tell
from tests.api.test_life_of_money import CARD, IBAN, await_status, balance

AMOUNT, FEE = 8420, 158


async def test_rule_18_a_failed_refund_is_the_merchants_money_again(
    real_shop: Shop, real_world: World, rails_sandbox: str
) -> None:
    charge = (await real_shop.post("/charges", {**CARD, "source": "tok_refund_fails_late"})).json()
    await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": FEE})
    refund = (await real_shop.post("/refunds", {"charge": charge["id"]})).json()
    assert refund["status"] == "succeeded" and (await balance(real_shop, charge["account"]))["posted"] == 0
    (notice,) = await notices_about(rails_sandbox, refund["id"])
    answers = [await tell(real_world, notice) for _ in range(2)]
    assert [answer.json()["duplicate"] for answer in answers] == [False, True], answers[0].text
    failed = await await_status(real_shop, f"/refunds/{refund['id']}", "failed")
    assert failed["failure_code"] == "account_closed"
    assert (await balance(real_shop, charge["account"]))["posted"] == AMOUNT
    assert (await real_shop.get(f"/charges/{charge['id']}"))["amount_refunded"] == 0
    # Its headroom is back: all of the charge may be refunded again, by somebody who asks for it.
    again = (await real_shop.post("/refunds", {"charge": charge["id"]})).json()
    assert (again["status"], again["amount"]) == ("succeeded", AMOUNT)
    events = [one["type"] for one in (await real_shop.get("/events", limit=100))["data"]]
    assert events.count("refund.failed") == 1
    assert (await real_shop.get("/ledger/invariants"))["ok"] is True


async def test_rule_29_a_returned_payout_is_credited_once(
    real_shop: Shop, real_world: World, rails_sandbox: str
) -> None:
    await real_shop.post("/accounts", {"currency": "EUR", "id": "acct_till"})
    await real_shop.post("/accounts/acct_till/fund", {"amount": 5000})
    order = {"amount": 5000, "currency": "EUR", "source": "acct_till", "rail": "bank_instant"}
    body = {**order, "destination": {**IBAN, "name": "RETURN TWICE Ltd"}}
    payout = (await real_shop.post("/payouts", body)).json()
    paid = await await_status(real_shop, f"/payouts/{payout['id']}", "paid")
    assert (await balance(real_shop, "acct_till"))["posted"] == 0
    first, second = await notices_about(rails_sandbox, payout["id"], 2)
    assert (await tell(real_world, first)).status_code == 200
    returned = await await_status(real_shop, f"/payouts/{payout['id']}", "returned")
    assert returned["failure_code"] == "account_closed" and returned["amount"] == paid["amount"]
    assert (await balance(real_shop, "acct_till"))["posted"] == 5000
    assert (await tell(real_world, second)).status_code == 200
    late_paid = {**first, "type": "payout.paid", "reference": "odd_1", "reason": None}
    assert (await tell(real_world, late_paid)).status_code == 200
    for _ in range(100):
        found = (await real_shop.get("/reconciliation/exceptions", status="open"))["data"]
        if len(found) == 2:
            break
        await asyncio.sleep(0.1)
    assert {(one["kind"], one["subject"]) for one in found} == {("contradicting_notice", payout["id"])}
    assert (await balance(real_shop, "acct_till"))["posted"] == 5000
    kinds = [one["kind"] for one in (await real_shop.get("/accounts/acct_till/entries"))["data"]]
    assert kinds == ["payout_returned", "payout", "funding"]
    stranger = {**first, "rail_key": "po_nobody:1", "reference": "odd_2"}
    assert (await tell(real_world, stranger)).json()["notices"][0]["status"] == "unmatched"
