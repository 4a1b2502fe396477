"""Disputes over HTTP on everything real: the bank's question, the money taken, evidence, won and lost."""

import asyncio
from typing import Any

import httpx

from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem
from tests.api.relay import notices_about, tell
from tests.api.test_life_of_money import CARD, await_status, balance

AMOUNT, FEE, DISPUTE_FEE = 8420, 158, 1500


async def disputed(shop: Shop, world: World, rails_url: str, token: str = "tok_disputed") -> tuple[Any, Any, Any]:
    """A charge, its dispute as we have it, and the rail's notice."""
    charge = (await shop.post("/charges", {**CARD, "source": token})).json()
    (notice,) = await notices_about(rails_url, charge["id"])
    told = await tell(world, notice)
    assert told.status_code == 200, told.text
    status = "warning_needs_response" if token == "tok_inquiry" else "needs_response"
    return charge, await await_status(shop, f"/disputes/{told.json()['notices'][0]['object']}", status), notice


async def bank(rails_url: str, notice: Any, step: str, **body: Any) -> httpx.Response:
    """Play the cardholder's bank."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{rails_url}/disputes/{notice['reference']}/{step}", json=body)


async def follow(world: World, rails_url: str, charge: Any, kind: str) -> None:
    """Deliver the rail's next word about a charge's dispute."""
    for _ in range(100):
        told = [one for one in await notices_about(rails_url, charge["id"]) if one["type"] == kind]
        if told:
            assert (await tell(world, told[-1])).status_code == 200
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the rails never say {kind}")


async def test_rule_21_won_with_evidence_the_money_is_back(
    real_shop: Shop, real_world: World, rails_sandbox: str
) -> None:
    charge, dispute, notice = await disputed(real_shop, real_world, rails_sandbox)
    account, path = charge["account"], f"/disputes/{dispute['id']}"
    assert (dispute["kind"], dispute["amount"], dispute["fee"]) == ("chargeback", AMOUNT, DISPUTE_FEE)
    assert dispute["evidence_details"]["due_by"] is not None
    assert (await balance(real_shop, account))["posted"] == -FEE - DISPUTE_FEE
    body = {"evidence": {"uncategorized_text": "winning_evidence"}}
    assert_problem(await real_shop.post(f"{path}/evidence", {"evidence": {}}), 422, "evidence_size_invalid", "evidence")
    card = {"evidence": {"uncategorized_text": "4242 4242 4242 4242"}}
    assert_problem(await real_shop.post(f"{path}/evidence", card), 422, "card_number_not_allowed")
    answer = await real_shop.post(f"{path}/evidence", body, key="evidence")
    assert (answer.status_code, answer.json()["status"]) == (200, "under_review"), answer.text
    again = await real_shop.post(f"{path}/evidence", body, key="evidence")
    assert again.status_code == 200 and again.headers["idempotent-replayed"] == "true"
    other = {"evidence": {"receipt": "another"}}
    assert_problem(await real_shop.post(f"{path}/evidence", other, key="evidence"), 422, "idempotency_key_reused")
    assert_problem(await real_shop.post(f"{path}/evidence", other), 409, "evidence_already_submitted")
    await follow(real_world, rails_sandbox, charge, "dispute.won")
    won = await await_status(real_shop, path, "won")
    assert won["fee_returned"] == 0
    assert (await balance(real_shop, account))["posted"] == AMOUNT - FEE - DISPUTE_FEE
    assert_problem(await real_shop.post(f"{path}/evidence", other), 409, "dispute_closed")
    # Whatever the bank says after the end is for a person.
    contrary = {**notice, "type": "dispute.lost"}
    assert (await tell(real_world, contrary)).status_code == 200
    for _ in range(100):
        found = (await real_shop.get("/reconciliation/exceptions", status="open"))["data"]
        if found:
            break
        await asyncio.sleep(0.1)
    assert [one["subject"] for one in found] == [dispute["id"]]
    assert (await real_shop.get(path))["status"] == "won"
    assert (await real_shop.get("/ledger/invariants"))["ok"] is True


async def test_rule_21_while_open_refunds_stay_within_captured_less_disputed(
    real_shop: Shop, real_world: World, rails_sandbox: str
) -> None:
    charge, dispute, _ = await disputed(real_shop, real_world, rails_sandbox, "tok_inquiry")
    account, path = charge["account"], f"/disputes/{dispute['id']}"
    assert (await balance(real_shop, account))["posted"] == AMOUNT - FEE, "an inquiry moves nothing"
    await real_shop.post(f"/accounts/{account}/fund", {"amount": 20_000})
    early = await real_shop.post("/refunds", {"charge": charge["id"], "amount": 1000})
    assert early.json()["status"] == "succeeded", "an inquiry takes nothing of what may be refunded"
    (notice,) = [one for one in await notices_about(rails_sandbox, charge["id"]) if one["type"] == "dispute.created"]
    assert (await bank(rails_sandbox, notice, "won")).status_code == 409
    assert (await bank(rails_sandbox, notice, "escalate", amount=7000)).status_code == 200
    await follow(real_world, rails_sandbox, charge, "dispute.escalated")
    taken = await await_status(real_shop, path, "needs_response")
    assert (taken["kind"], taken["amount"], taken["fee"]) == ("chargeback", 7000, DISPUTE_FEE)
    assert (await balance(real_shop, account))["posted"] == AMOUNT - FEE + 20_000 - 1000 - 7000 - DISPUTE_FEE
    over = await real_shop.post("/refunds", {"charge": charge["id"], "amount": AMOUNT - 1000 - 7000 + 1})
    assert_problem(over, 422, "exceeds_refundable_amount")
    rest = await real_shop.post("/refunds", {"charge": charge["id"]})
    assert (rest.json()["status"], rest.json()["amount"]) == ("succeeded", AMOUNT - 1000 - 7000)
    losing = {"evidence": {"uncategorized_text": "losing_evidence"}}
    assert (await real_shop.post(f"{path}/evidence", losing)).json()["status"] == "under_review"
    await follow(real_world, rails_sandbox, charge, "dispute.lost")
    await await_status(real_shop, path, "lost")
    one_more = await real_shop.post("/refunds", {"charge": charge["id"], "amount": 1})
    assert_problem(one_more, 422, "exceeds_refundable_amount")
    listed = (await real_shop.get("/disputes", status="lost"))["data"]
    assert [one["id"] for one in listed] == [dispute["id"]]
    events = [one["type"] for one in (await real_shop.get("/events", limit=100))["data"]]
    assert [one for one in events if one.startswith("dispute.")] == [
        "dispute.created",
        "dispute.escalated",
        "dispute.updated",
        "dispute.evidence_submitted",
        "dispute.lost",
    ]


async def test_another_merchants_dispute_is_not_there(real_shop: Shop, real_world: World, rails_sandbox: str) -> None:
    _, dispute, _ = await disputed(real_shop, real_world, rails_sandbox)
    stranger = await real_world.shop()
    path = f"/disputes/{dispute['id']}"
    assert_problem(await stranger.send("GET", path), 404)
    assert_problem(await stranger.post(f"{path}/evidence", {"evidence": {"receipt": "x"}}), 404)
