"""Accounts, policies, events, audit records, ledger: written through the books, read under row level security."""

import itertools

from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem


async def test_accounts_open_once(shop: Shop) -> None:
    body = {"currency": "EUR", "id": "acct_user_8f3c", "name": "Ada", "min_balance": -500}
    first = await shop.post("/accounts", body, key="open")
    again = await shop.post("/accounts", body, key="open")
    assert first.status_code == again.status_code == 201 and first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"
    assert_problem(await shop.post("/accounts", body), 409, "already_exists", "id")
    problem = await shop.post("/accounts", {**body, "currency": "USD"}, key="open")
    assert_problem(problem, 422, "idempotency_key_reused", "currency")
    shown = await shop.get("/accounts/acct_user_8f3c")
    assert (shown["name"], shown["min_balance"], shown["available"]) == ("Ada", -500, 0)
    named = (await shop.post("/accounts", {"currency": "JPY"})).json()
    assert named["id"].startswith("acct_") and named["currency"] == "JPY"
    page = await shop.get("/accounts", limit=1)
    rest = await shop.get("/accounts", starting_after=page["data"][0]["id"])
    assert page["has_more"] and {one["id"] for one in page["data"] + rest["data"]} == {named["id"], "acct_user_8f3c"}


async def test_policies_change_by_versions(shop: Shop, world: World) -> None:
    assert (await shop.get("/risk/policy")) == {
        "object": "risk_policy",
        "step_up_at": 0.65,
        "block_at": 0.9,
        "on_model_outage": "step_up",
    }
    changed = await shop.send("PUT", "/risk/policy", json={"step_up_at": 0.5})
    assert changed.status_code == 200 and changed.json()["step_up_at"] == 0.5
    again = await shop.send("PUT", "/risk/policy", json={"step_up_at": 0.5})
    assert again.json() == changed.json() == await shop.get("/risk/policy")
    wrong = await shop.send("PUT", "/risk/policy", json={"step_up_at": 0.95})
    assert_problem(wrong, 422, "thresholds_out_of_order", "step_up_at")
    assert_problem(await shop.send("PUT", "/risk/policy", json={"block_at": 1.5}), 422, "block_at_invalid", "block_at")
    weights = {"cost": 2, "approval": 0.5, "speed": 0}
    routed = await shop.send("PUT", "/routing/policy", json={"weights": weights, "max_attempts": 2})
    assert routed.status_code == 200 and routed.json()["weights"] == weights
    assert (await shop.get("/routing/policy"))["max_attempts"] == 2
    for wrong_policy in ({"weights": {"cost": -1}}, {"max_attempts": 0}, {"weights": {"luck": 1}}, {"x": 1}):
        assert_problem(await shop.send("PUT", "/routing/policy", json=wrong_policy), 422)
    types = [event["type"] for event in (await shop.get("/events"))["data"]]
    assert types == ["risk_policy.updated", "routing_policy.updated"]
    stranger = await world.shop()
    assert (await stranger.get("/risk/policy"))["step_up_at"] == 0.65
    assert (await shop.get("/pricing"))["prices"]["EUR"] == {"basis_points": 140, "fixed": 40}


async def test_quote_and_score_make_nothing(shop: Shop) -> None:
    quote = await shop.send("POST", "/routing/quote", json={"amount": 8420, "currency": "EUR"})
    assert quote.status_code == 200 and quote.json()["route"][0]["rail"] == "alpha"
    body = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291"}
    score = await shop.send("POST", "/risk/score", json=body)
    assert score.status_code == 200 and score.json()["decision"] == "allow"
    assert [rail["rail"] for rail in (await shop.get("/rails"))["data"]] == ["alpha", "sepa"]
    assert (await shop.get("/charges"))["data"] == []


async def test_events_are_numbered_without_gaps_per_merchant(shop: Shop, world: World) -> None:
    other = await world.shop()
    for turn in range(5):
        await shop.post("/accounts", {"currency": "EUR", "id": f"acct_{turn}"})
        await other.post("/accounts", {"currency": "EUR", "id": f"acct_{turn}"})
    events = (await shop.get("/events"))["data"]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["previous_sequence"] for event in events] == [0, 1, 2, 3, 4]
    assert events[0]["data"]["object"]["id"] == "acct_0" and events[0]["type"] == "account.created"
    page = await shop.get("/events", after=2, limit=2)
    assert [event["sequence"] for event in page["data"]] == [3, 4] and page["has_more"]
    assert await shop.get(f"/events/{events[0]['id']}") == events[0]
    assert_problem(await other.send("GET", f"/events/{events[0]['id']}"), 404, "event_not_found")
    assert (await shop.get("/events", type="charge.settled"))["data"] == []


async def test_audit_records_chain(shop: Shop, world: World) -> None:
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_audited"})
    (record,) = (await shop.get("/audit/records"))["data"]
    assert record["action"] == "account.created" and record["actor"].startswith("api_key:key_")
    assert len(record["record_hash"]) == 64
    chain = (await (await world.admin()).get("/audit/records", limit=1000))["data"]
    for before, after in itertools.pairwise(chain):
        assert after["previous_hash"] == before["record_hash"] and after["sequence"] == before["sequence"] + 1


async def test_trial_balance_shows_a_merchant_its_own(shop: Shop, world: World) -> None:
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_tb"})
    own = await shop.get("/ledger/trial_balance")
    assert own["accounts"] == [{"account": "acct_tb", "currency": "EUR", "posted": 0}]
    admin = await world.admin()
    whole = await admin.get("/ledger/trial_balance")
    assert f"{shop.merchant_id}/test/acct_tb" in {row["account"] for row in whole["accounts"]}
    assert all(totals["delta"] == 0 for totals in whole["currencies"])
    assert (await admin.get("/ledger/invariants"))["ok"] is True
    past = await shop.get("/ledger/trial_balance", at="2020-01-01T00:00:00Z")
    assert past["accounts"] == []
