"""Operators over HTTP, on everything real: what is not final, why it waits, and what a person does about it."""

import asyncio
import time
from typing import Any

from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem
from tests.api.test_life_of_money import CARD, IBAN, await_status, balance

SILENT = {**IBAN, "name": "TIMEOUT FOREVER"}


async def stuck(who: Shop, **filters: Any) -> dict[str, dict[str, Any]]:
    """Everything that is not final, by id, read page by page."""
    found: dict[str, dict[str, Any]] = {}
    more, cursor = True, dict[str, str]()
    while more:
        page = await who.get("/operations/stuck", limit=2, **filters, **cursor)
        found |= {one["id"]: one for one in page["data"]}
        more = page["has_more"]
        cursor = {"starting_after": page["data"][-1]["id"]} if page["data"] else {}
    return found


async def silent_payout(shop: Shop) -> dict[str, Any]:
    """A payout of 30.00 EUR that its rail never tells about."""
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_till"})
    await shop.post("/accounts/acct_till/fund", {"amount": 3000})
    order = {"amount": 3000, "currency": "EUR", "source": "acct_till", "destination": SILENT}
    answer = await shop.post("/payouts", order)
    assert answer.status_code == 202, answer.text
    payout: dict[str, Any] = answer.json()
    return payout


async def test_what_is_not_final_is_listed_with_what_it_waits_for(real_world: World, real_shop: Shop) -> None:
    shop, admin = real_shop, await real_world.admin()
    other = await real_world.shop("Other")
    authorized = (await shop.post("/charges", {**CARD, "capture": False})).json()
    settled = (await shop.post("/charges", CARD)).json()
    unknown = (await shop.post("/charges", {**CARD, "source": "tok_timeout_forever"})).json()
    step = (await shop.post("/charges", {**CARD, "source": "tok_3ds"})).json()
    payout = await silent_payout(shop)
    found = await stuck(shop)
    assert {one: found[one]["why"] for one in found} == {
        authorized["id"]: "capture",
        unknown["id"]: "rail_outcome_unknown",
        step["id"]: "customer_step",
        payout["id"]: "rail_outcome_unknown",
    }
    assert settled["id"] not in found and list(found) == sorted(found, key=lambda one: found[one]["created_at"])
    shown = found[unknown["id"]]
    assert shown["attempt"] == {"number": 1, "rail_key": f"{unknown['id']}:1", "outcome": "unknown"}
    assert shown["workflow_id"] == unknown["workflow_id"] and shown["next_check_at"] is not None
    assert shown["temporal_url"] == (
        f"http://ui.test/namespaces/default/workflows/{shop.merchant_id}%2Ftest%2F{unknown['workflow_id'].split('/')[-1]}"
    )
    assert shown["since"] > shown["created_at"] and shown["rail"] == unknown["rail"]
    assert await stuck(other) == {} and found.keys() <= (await stuck(admin)).keys()
    assert (await stuck(shop, kind="payout")).keys() == {payout["id"]}
    assert (await stuck(shop, kind="charge", status="unknown")).keys() == {unknown["id"]}
    assert await stuck(shop, older_than=3600) == {}
    assert_problem(await shop.send("GET", "/operations/stuck?kind=nothing"), 422)


async def test_the_rail_is_asked_at_once_when_an_operator_says_so(real_shop: Shop) -> None:
    """The question is asked now, once for each key, and leaves its trace on the object and in the audit log."""
    payout = await silent_payout(real_shop)
    path = f"/operations/{payout['id']}/inquire"

    async def questions() -> int:
        document = await real_shop.get(f"/payouts/{payout['id']}")
        return len((document["unknown"] or {"inquiries": ()})["inquiries"])

    await wait_for_daily(real_shop, payout["id"])
    before = await questions()
    answer = await real_shop.post(path, {}, key="ask-1")
    assert answer.status_code == 202 and answer.json()["id"] == payout["id"], answer.text
    again = await real_shop.post(path, {}, key="ask-1")
    assert again.status_code == 202 and again.headers["Idempotent-Replayed"] == "true"
    other = await silent_payout(real_shop)
    assert_problem(
        await real_shop.post(f"/operations/{other['id']}/inquire", {}, key="ask-1"), 422, "idempotency_key_reused"
    )
    records = (await real_shop.get("/audit/records", limit=100))["data"]
    assert [one["object_id"] for one in records if one["action"] == "payout.inquiry_requested"] == [payout["id"]]
    # The next check is a day away: the trail grows only because somebody asked.
    finding = {"outcome": "declined", "evidence": "the bank says so"}
    resolved = await real_shop.post(f"/operations/{payout['id']}/resolve", finding)
    assert resolved.status_code == 200, resolved.text
    trail = resolved.json()["unknown"]["inquiries"]
    assert len(trail) == before + 2 and trail[-1]["evidence"] == "the bank says so"


async def wait_for_daily(shop: Shop, payout_id: str) -> None:
    """Wait until the schedule's budget is spent: an exception is open."""
    deadline = time.monotonic() + 40
    while True:
        listed = (await shop.get("/reconciliation/exceptions", status="open"))["data"]
        if any(one["subject"] == payout_id for one in listed):
            return
        assert time.monotonic() < deadline, "no exception was opened"
        await asyncio.sleep(0.1)


async def test_a_finding_ends_a_payout_and_gives_the_money_back(real_shop: Shop) -> None:
    payout = await silent_payout(real_shop)
    path, finding = f"/operations/{payout['id']}/resolve", {"outcome": "declined", "evidence": "statement 12"}
    assert_problem(await real_shop.post(path, {"outcome": "maybe", "evidence": "x"}), 422)
    answer = await real_shop.post(path, finding, key="found")
    assert answer.status_code == 200 and answer.json()["status"] == "failed", answer.text
    assert (await balance(real_shop, "acct_till"))["posted"] == 3000
    again = await real_shop.post(path, finding, key="found")
    assert again.json()["status"] == "failed" and again.headers["Idempotent-Replayed"] == "true"
    assert_problem(await real_shop.post(path, finding), 409, "payout_failed")
    assert_problem(await real_shop.post(f"/operations/{payout['id']}/inquire", {}), 409, "payout_is_final")
    assert_problem(await real_shop.post("/operations/po_nothing/resolve", finding), 404, "operation_not_found")


async def test_only_what_waits_for_a_rail_can_be_asked_about(real_shop: Shop) -> None:
    charge = (await real_shop.post("/charges", {**CARD, "capture": False})).json()
    assert_problem(await real_shop.post(f"/operations/{charge['id']}/inquire", {}), 409, "nothing_to_ask")
    finding = {"outcome": "approved", "evidence": "x"}
    assert_problem(await real_shop.post(f"/operations/{charge['id']}/resolve", finding), 409)
    assert_problem(await real_shop.post("/operations/exc_nothing/void_orphan", {"note": "x"}), 404)
    await await_status(real_shop, f"/charges/{charge['id']}", "authorized")
