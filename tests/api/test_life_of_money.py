"""Every object's life over HTTP, on everything real: capture, void, step-up, refund, payout, transfer, dispute."""

import asyncio
import json
from typing import Any

from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem
from tests.api.relay import signed

CARD = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291"}
IBAN = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada Lovelace"}


async def authorized(shop: Shop, amount: int = 8420) -> Any:
    answer = await shop.post("/charges", {**CARD, "amount": amount, "capture": False})
    assert answer.status_code == 201 and answer.json()["status"] == "authorized", answer.text
    return answer.json()


async def await_status(shop: Shop, path: str, *statuses: str) -> Any:
    for _ in range(150):
        answer = await shop.send("GET", path)
        if answer.status_code == 200 and answer.json()["status"] in statuses:
            return answer.json()
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} stays {answer.text}")


async def balance(shop: Shop, account: str) -> Any:
    return await shop.get(f"/accounts/{account}/balance")


async def test_capture_in_parts_then_conflicts(real_shop: Shop) -> None:
    charge = await authorized(real_shop)
    path = f"/charges/{charge['id']}"
    assert (await balance(real_shop, charge["account"]))["pending_credits"] == 8420
    problem = assert_problem(
        await real_shop.post(f"{path}/capture", {"amount": 8421}), 409, "exceeds_authorized_amount"
    )
    assert problem["remaining"] == 8420 and problem["charge"]["status"] == "authorized"
    part = await real_shop.post(f"{path}/capture", {"amount": 5000, "final": False}, key="part")
    assert part.status_code == 200 and part.json()["amount_captured"] == 5000, part.text
    again = await real_shop.post(f"{path}/capture", {"amount": 5000, "final": False}, key="part")
    assert again.json() == part.json() and again.headers["idempotent-replayed"] == "true"
    other = await real_shop.post(f"{path}/capture", {"amount": 100, "final": False}, key="part")
    assert_problem(other, 422, "idempotency_key_reused", "amount")
    assert_problem(await real_shop.post(f"{path}/void"), 409)
    rest = await real_shop.post(f"{path}/capture")
    assert rest.json()["amount_captured"] == 8420 and rest.json()["status"] in ("captured", "settled")
    assert_problem(await real_shop.post(f"{path}/capture"), 409, "charge_already_captured")
    assert_problem(await real_shop.post(f"{path}/void"), 409, "use_refund")
    assert (await balance(real_shop, charge["account"]))["pending_credits"] == 0
    replayed = await real_shop.post(f"{path}/capture", {"amount": 5000, "final": False}, key="part")
    assert replayed.status_code == 200 and replayed.json()["amount_captured"] == 8420


async def test_two_captures_at_once_one_wins(real_shop: Shop) -> None:
    charge = await authorized(real_shop)
    path = f"/charges/{charge['id']}/capture"
    answers = await asyncio.gather(*[real_shop.post(path, {"amount": 5000}) for _ in range(2)])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert (await real_shop.get(f"/charges/{charge['id']}"))["amount_captured"] == 5000


async def test_two_different_captures_with_one_key(real_shop: Shop) -> None:
    """Temporal gives both the same update; the key's row tells whose it was."""
    charge = await authorized(real_shop)
    path = f"/charges/{charge['id']}/capture"
    posts = [real_shop.post(path, {"amount": 1000 + turn, "final": False}, key="both") for turn in range(2)]
    answers = sorted(await asyncio.gather(*posts), key=lambda answer: answer.status_code)
    assert answers[0].status_code == 200
    assert_problem(answers[1], 422, "idempotency_key_reused", "amount")
    captured = (await real_shop.get(f"/charges/{charge['id']}"))["amount_captured"]
    assert captured == answers[0].json()["amount_captured"] in (1000, 1001)


async def test_void_then_everything_else_conflicts(real_shop: Shop) -> None:
    charge = await authorized(real_shop)
    path = f"/charges/{charge['id']}"
    assert_problem(await real_shop.post("/refunds", {"charge": charge["id"]}), 409, "use_void")
    voided = await real_shop.post(f"{path}/void", key="void")
    assert voided.status_code == 200 and voided.json()["status"] == "voided"
    again = await real_shop.post(f"{path}/void", key="void")
    assert again.status_code == 200 and again.json() == voided.json()
    assert_problem(await real_shop.post(f"{path}/capture"), 409, "charge_voided")
    assert_problem(await real_shop.post("/refunds", {"charge": charge["id"]}), 409, "charge_not_captured")
    assert (await balance(real_shop, charge["account"]))["pending_credits"] == 0


async def test_step_up_through_the_challenge_page(real_shop: Shop, real_world: World) -> None:
    body = {**CARD, "source": "tok_3ds", "return_url": "https://shop.test/back?order=1"}
    charge = (await real_shop.post("/charges", body)).json()
    url = charge["next_action"]["url"]
    page = await real_world.http.get(url)
    assert page.status_code == 200 and "84.20 EUR" in page.text and page.headers["referrer-policy"] == "no-referrer"
    wrong = url[:-4] + "0000"
    assert_problem(await real_world.http.get(wrong), 404, "challenge_not_found")
    assert_problem(await real_world.http.post(wrong, data={"result": "success"}), 404, "challenge_not_found")
    assert_problem(await real_world.http.post(url, data={"result": "maybe"}), 422, "result_invalid")
    done = await real_world.http.post(url, data={"result": "success"})
    assert done.status_code == 303
    assert done.headers["location"] == f"https://shop.test/back?order=1&charge={charge['id']}&status=settled"
    assert (await real_shop.get(f"/charges/{charge['id']}"))["status"] == "settled"
    assert "settled" in (await real_world.http.get(url)).text
    late = await real_world.http.post(url, data={"result": "failure"})
    assert late.status_code == 303 and "status=settled" in late.headers["location"]


async def test_step_up_over_the_api(real_shop: Shop) -> None:
    charge = (await real_shop.post("/charges", {**CARD, "source": "tok_risk_step_up"}, key="step")).json()
    assert charge["status"] == "requires_action"
    path = f"/charges/{charge['id']}/authenticate"
    failed = await real_shop.post(path, {"result": "failure"}, key="auth")
    problem = assert_problem(failed, 402, "authentication_failed")
    assert problem["charge"]["status"] == "declined"
    again = await real_shop.post(path, {"result": "failure"}, key="auth")
    assert_problem(again, 402, "authentication_failed")
    assert_problem(await real_shop.post(path, {"result": "success"}), 409, "charge_declined")


async def test_refunds_within_what_was_captured(real_shop: Shop) -> None:
    charge = (await real_shop.post("/charges", CARD)).json()
    assert (await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": 1000})).status_code == 201
    first = await real_shop.post("/refunds", {"charge": charge["id"], "amount": 3000, "reason": "late"})
    assert first.status_code in (201, 202), first.text
    await await_status(real_shop, f"/refunds/{first.json()['id']}", "succeeded")
    too_much = await real_shop.post("/refunds", {"charge": charge["id"], "amount": 5421})
    problem = assert_problem(too_much, 422, "exceeds_refundable_amount")
    assert problem["refund"]["status"] == "failed"
    rest = await real_shop.post("/refunds", {"charge": charge["id"]}, key="rest")
    assert rest.json()["amount"] == 5420
    await await_status(real_shop, f"/refunds/{rest.json()['id']}", "succeeded")
    shown = await real_shop.get(f"/charges/{charge['id']}")
    assert shown["amount_refunded"] == 8420
    again = await real_shop.post("/refunds", {"charge": charge["id"]}, key="rest")
    assert again.json()["id"] == rest.json()["id"] and again.headers["idempotent-replayed"] == "true"
    assert_problem(await real_shop.post("/refunds", {"charge": charge["id"]}), 422, "exceeds_refundable_amount")
    listed = await real_shop.get("/refunds", charge=charge["id"], status="succeeded")
    assert [one["id"] for one in listed["data"]] == [rest.json()["id"], first.json()["id"]]


async def test_the_transfer_of_the_page(real_shop: Shop) -> None:
    for account in ("acct_user_8f3c", "acct_merch_a21", "acct_dollars"):
        currency = "USD" if account == "acct_dollars" else "EUR"
        assert (await real_shop.post("/accounts", {"currency": currency, "id": account})).status_code == 201
    funded = await real_shop.post("/accounts/acct_user_8f3c/fund", {"amount": 10_000})
    assert funded.status_code == 201 and funded.json()["entries"][1]["balance"] == 10_000
    move = {
        "amount": 8420,
        "currency": "EUR",
        "source": "acct_user_8f3c",
        "destination": "acct_merch_a21",
        "rail": "auto",
        "idempotency_key": "ord_7741_v2",
    }
    answer = await real_shop.send("POST", "/transfers", json=move)
    assert answer.status_code == 201
    transfer = answer.json()
    assert (transfer["status"], transfer["rail"]) == ("settled", "book")
    shown = [(one["account"], one["direction"], one["amount"], one["balance"]) for one in transfer["entries"]]
    assert shown == [("acct_user_8f3c", "debit", 8420, 1580), ("acct_merch_a21", "credit", 8420, 8420)]
    entries = (await real_shop.get("/accounts/acct_user_8f3c/entries"))["data"]
    assert entries[0]["id"] == transfer["entries"][0]["id"]
    page = await real_shop.get("/accounts/acct_user_8f3c/entries", starting_after=entries[0]["id"])
    assert [entry["amount"] for entry in page["data"]] == [10_000] and page["has_more"] is False
    foreign = {**move, "destination": "acct_dollars", "idempotency_key": "fx"}
    refused = assert_problem(
        await real_shop.send("POST", "/transfers", json=foreign), 400, "quote_required", "destination"
    )
    assert "/v1/fx/quotes" in refused["detail"]
    wrong = {**move, "currency": "USD", "idempotency_key": "usd"}
    assert_problem(await real_shop.send("POST", "/transfers", json=wrong), 422, "currency_mismatch", "currency")


async def test_balance_at_an_instant_never_changes(real_shop: Shop) -> None:
    assert (await real_shop.post("/accounts", {"currency": "EUR", "id": "acct_time"})).status_code == 201
    seen = []
    for amount in (100, 200, 300):
        await real_shop.post("/accounts/acct_time/fund", {"amount": amount})
        now = await balance(real_shop, "acct_time")
        seen.append((now["at"], now["posted"]))
    assert [posted for _, posted in seen] == [100, 300, 600]
    for at, posted in seen:
        for axis in ("recorded", "effective"):
            assert (await real_shop.get("/accounts/acct_time/balance", at=at, axis=axis))["posted"] == posted
    assert (await real_shop.get("/accounts/acct_time/balance", at="2020-01-01T00:00:00+02:00"))["posted"] == 0


async def test_payouts(real_shop: Shop) -> None:
    assert (await real_shop.post("/accounts", {"currency": "EUR", "id": "acct_till"})).status_code == 201
    order = {"amount": 5000, "currency": "EUR", "source": "acct_till", "destination": IBAN}
    problem = assert_problem(await real_shop.post("/payouts", order), 422, "exceeds_available_balance")
    assert problem["payout"]["status"] == "failed"
    await real_shop.post("/accounts/acct_till/fund", {"amount": 5000})
    answer = await real_shop.post("/payouts", order, key="out")
    assert answer.status_code in (201, 202), answer.text
    paid = await await_status(real_shop, f"/payouts/{answer.json()['id']}", "paid")
    assert paid["destination"]["iban"] == IBAN["iban"]
    again = await real_shop.post("/payouts", order, key="out")
    assert again.status_code == 201 and again.json()["id"] == paid["id"]
    assert (await balance(real_shop, "acct_till"))["posted"] == 0


async def test_a_chargeback_posts_once_however_often_it_is_told(real_shop: Shop, real_world: World) -> None:
    charge = (await real_shop.post("/charges", CARD)).json()
    notice = {
        "type": "dispute.created",
        "id": "n1",
        "rail": charge["rail"],
        "rail_key": f"{charge['id']}:1",
        "reference": f"cb_{charge['id']}",
        "amount": 8420,
        "currency": "EUR",
        "reason": "fraudulent",
    }
    body = json.dumps(notice).encode()
    path = f"/v1/rails/{charge['rail']}/callbacks"
    answers = [await real_world.http.post(path, content=body, headers=signed(body)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    (first,), (second,) = (answer.json()["notices"] for answer in answers)
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    dispute = await await_status(real_shop, f"/disputes/{first['object']}", "needs_response")
    assert (dispute["charge"], dispute["amount"]) == (charge["id"], 8420)
    assert [one["id"] for one in (await real_shop.get("/disputes", charge=charge["id"]))["data"]] == [dispute["id"]]
    assert (await balance(real_shop, charge["account"]))["posted"] == 8420 - 158 - 8420 - dispute["fee"]


async def test_a_person_resolves_what_the_rail_never_tells(real_shop: Shop) -> None:
    charge = (await real_shop.post("/charges", {**CARD, "source": "tok_timeout_forever"})).json()
    assert charge["status"] == "unknown" and charge["next_check_at"]
    for _ in range(250):
        opened = (await real_shop.get("/reconciliation/exceptions", status="open"))["data"]
        if opened:
            break
        await asyncio.sleep(0.1)
    (exception,) = opened
    assert exception["subject"] == charge["id"]
    path = f"/reconciliation/exceptions/{exception['id']}/resolve"
    assert_problem(await real_shop.post(path, {"action": "approved"}), 422, "note_required", "note")
    finding = {"action": "approved", "note": "seen on the acquirer's statement"}
    resolved = await real_shop.post(path, finding, key="found")
    assert resolved.status_code == 200 and resolved.json()["status"] == "resolved", resolved.text
    assert resolved.json()["charge"]["status"] in ("captured", "settled")
    again = await real_shop.post(path, finding, key="found")
    assert again.status_code == 200 and again.headers["idempotent-replayed"] == "true"
    assert_problem(await real_shop.post(path, {**finding, "action": "declined"}), 409)
    assert (await real_shop.get("/reconciliation/exceptions", status="open"))["data"] == []
    records = (await real_shop.get("/audit/records", object_id=charge["id"]))["data"]
    assert any("seen on the acquirer's statement" in record["actor"] for record in records)


async def test_a_card_goes_through_the_vault_into_a_charge(real_shop: Shop, real_world: World) -> None:
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031, "cvc": "123"}
    made = await real_shop.post("/tokens", {"card": card}, key="card")
    assert made.status_code == 201 and made.json()["last4"] == "4242", made.text
    assert "4242424242424242" not in made.text
    charge = await real_shop.post("/charges", {**CARD, "source": made.json()["id"]})
    assert charge.status_code == 201, charge.text
    other = await real_world.shop()
    assert_problem(await other.post("/charges", {**CARD, "source": made.json()["id"]}), 404, "token_not_found")
    bad = await real_shop.post("/tokens", {"card": {**card, "number": "4242424242424241"}})
    assert_problem(bad, 422)
    assert "424242" not in bad.text
