"""Changing accounts and reading their statements over HTTP, on the real ledger."""

import asyncio
from typing import Any

import pytest

from domain.identifiers import Mode, account_code
from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem
from tests.ledger.postings import World as Books


async def funded(world: World, shop: Shop, *amounts: int) -> None:
    """An account `acct_a` with these amounts on it, moved there one by one."""
    assert (await shop.post("/accounts", {"currency": "EUR", "id": "acct_a", "name": "A"})).status_code == 201
    books = Books(merchant_id=shop.merchant_id)
    await world.services.book.post(books.opens(books.opening("acct_bank")))
    for amount in amounts:
        assert (await world.services.book.post(books.move("acct_bank", "acct_a", amount))).refusal is None


async def test_terms_change_and_are_audited_with_old_and_new_values(world: World, shop: Shop) -> None:
    await funded(world, shop, 500)
    answer = await shop.send("PATCH", "/accounts/acct_a", json={"min_balance": -100, "max_balance": 600})
    assert answer.status_code == 200, answer.text
    account = answer.json()
    assert (account["min_balance"], account["max_balance"], account["name"]) == (-100, 600, "A")
    named = await shop.send("PATCH", "/accounts/acct_a", json={"name": None, "max_balance": None})
    assert (named.json()["name"], named.json()["max_balance"], named.json()["min_balance"]) == (None, None, -100)
    same = await shop.send("PATCH", "/accounts/acct_a", json={"min_balance": -100})
    assert same.status_code == 200
    code = account_code(shop.merchant_id, Mode.TEST, "acct_a")
    events = [one for one in (await shop.get("/events"))["data"] if one["type"] == "account.updated"]
    assert [one["data"]["object"]["max_balance"] for one in events] == [600, None]
    records = (await shop.get("/audit/records", object_id=code))["data"]
    updates = [record["details"] for record in records if record["action"] == "account.updated"]
    assert {
        "version": 2,
        "old": {"min_balance": 0, "max_balance": None},
        "new": {"min_balance": -100, "max_balance": 600},
    } in updates
    assert len(updates) == 2


async def test_what_the_balance_breaks_is_a_conflict(world: World, shop: Shop) -> None:
    await funded(world, shop, 500)
    for change, code, param in (
        ({"min_balance": 501}, "balance_below_minimum", "min_balance"),
        ({"max_balance": 499}, "balance_above_maximum", "max_balance"),
        ({"status": "closed"}, "account_not_empty", "status"),
    ):
        problem = assert_problem(await shop.send("PATCH", "/accounts/acct_a", json=change), 409, code, param)
        assert problem["account"]["status"] == "open"
    for change in ({"min_balance": 5, "max_balance": 4}, {"max_balance": -1}, {"status": "gone"}, {"currency": "USD"}):
        assert_problem(await shop.send("PATCH", "/accounts/acct_a", json=change), 422)
    assert_problem(await shop.send("PATCH", "/accounts/acct_nobody", json={"name": "x"}), 404)
    other = await world.shop()
    assert_problem(await other.send("PATCH", "/accounts/acct_a", json={"name": "mine"}), 404)
    assert (await shop.get("/accounts/acct_a"))["name"] == "A"


async def test_frozen_then_closed(world: World, shop: Shop) -> None:
    await funded(world, shop, 500)
    books = Books(merchant_id=shop.merchant_id)
    assert (await shop.send("PATCH", "/accounts/acct_a", json={"status": "frozen"})).json()["status"] == "frozen"
    refused = await world.services.book.post(books.move("acct_a", "acct_bank", 500))
    assert refused.refusal is not None and refused.refusal.code == "account_closed"
    await shop.send("PATCH", "/accounts/acct_a", json={"status": "open"})
    await world.services.book.post(books.move("acct_a", "acct_bank", 500))
    assert (await shop.send("PATCH", "/accounts/acct_a", json={"status": "closed"})).json()["status"] == "closed"
    assert_problem(await shop.send("PATCH", "/accounts/acct_a", json={"status": "open"}), 409, "account_closed")


async def test_a_change_with_a_key_is_made_once(world: World, shop: Shop) -> None:
    await funded(world, shop)
    headers = {"Idempotency-Key": "terms-1"}
    first = await shop.send("PATCH", "/accounts/acct_a", json={"name": "One"}, headers=headers)
    await shop.send("PATCH", "/accounts/acct_a", json={"name": "Two"})
    again = await shop.send("PATCH", "/accounts/acct_a", json={"name": "One"}, headers=headers)
    assert first.status_code == again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true" and again.json()["name"] == "Two"
    reused = await shop.send("PATCH", "/accounts/acct_a", json={"name": "Three"}, headers=headers)
    assert_problem(reused, 422, "idempotency_key_reused", "name")


async def test_many_changes_at_once_all_happen(world: World, shop: Shop) -> None:
    await funded(world, shop)
    changes = [{"min_balance": -7}, {"max_balance": 900}, {"name": "Till"}]
    answers = await asyncio.gather(*[shop.send("PATCH", "/accounts/acct_a", json=change) for change in changes])
    assert [answer.status_code for answer in answers] == [200] * 3
    account = await shop.get("/accounts/acct_a")
    assert (account["min_balance"], account["max_balance"], account["name"]) == (-7, 900, "Till")


async def test_max_balance_on_create(world: World, shop: Shop) -> None:
    made = await shop.post("/accounts", {"currency": "EUR", "id": "acct_capped", "max_balance": 50})
    assert made.status_code == 201 and made.json()["max_balance"] == 50
    wrong = await shop.post("/accounts", {"currency": "EUR", "min_balance": 60, "max_balance": 50})
    assert_problem(wrong, 422, "limits_out_of_order", "max_balance")


@pytest.mark.parametrize("axis", ["recorded", "effective"])
async def test_a_statement_by_page(world: World, shop: Shop, axis: str) -> None:
    await funded(world, shop, 1, 2, 3, 4, 5)
    query = {"from": "2020-01-01T00:00:00Z", "axis": axis}
    whole = await shop.get("/accounts/acct_a/statement", **query)
    assert (whole["opening"]["posted"], whole["moved"], whole["closing"]["posted"]) == (0, 15, 15)
    assert [entry["balance"] for entry in whole["data"]] == [1, 3, 6, 10, 15] and whole["entry_count"] == 5
    seen: list[Any] = []
    after: dict[str, str] = {}
    while True:
        page = await shop.get("/accounts/acct_a/statement", **query, to=whole["closing"]["at"], limit=2, **after)
        seen += page["data"]
        if not page["has_more"]:
            break
        after = {"starting_after": page["data"][-1]["id"]}
    assert seen == whole["data"]
    missing = await shop.send("GET", "/accounts/acct_a/statement")
    assert_problem(missing, 422)
    wrong = await shop.send("GET", "/accounts/acct_a/statement", params={"from": "yesterday"})
    assert_problem(wrong, 422, "timestamp_invalid", "from")
    backwards = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    assert_problem(await shop.send("GET", "/accounts/acct_a/statement", params=backwards), 422, "period_out_of_order")
    nobody = await shop.send("GET", "/accounts/acct_nobody/statement", params=query)
    assert_problem(nobody, 404)
