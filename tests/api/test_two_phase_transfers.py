"""Transfers in two phases and reversals over HTTP, on everything real."""

import asyncio
from typing import Any

from tests.api.conftest import Shop
from tests.api.problems import assert_problem
from tests.api.test_life_of_money import await_status, balance

MOVE = {"amount": 600, "currency": "EUR", "source": "acct_from", "destination": "acct_to"}


async def two_accounts(shop: Shop, funds: int = 1000) -> None:
    for account in ("acct_from", "acct_to"):
        assert (await shop.post("/accounts", {"currency": "EUR", "id": account})).status_code == 201
    assert (await shop.post("/accounts/acct_from/fund", {"amount": funds})).status_code == 201


async def held(shop: Shop, **changes: Any) -> Any:
    answer = await shop.post("/transfers", {**MOVE, "pending": True, **changes})
    assert answer.status_code == 201 and answer.json()["status"] == "pending", answer.text
    return answer.json()


async def shown(shop: Shop, account: str) -> tuple[int, int, int, int]:
    now = await balance(shop, account)
    return now["posted"], now["pending_debits"], now["pending_credits"], now["available"]


async def events_of(shop: Shop, transfer_id: str) -> list[str]:
    events = (await shop.get("/events", limit=100))["data"]
    return [event["type"] for event in events if event["data"]["object"]["id"] == transfer_id]


async def test_held_then_posted_in_parts(real_shop: Shop) -> None:
    await two_accounts(real_shop)
    transfer = await held(real_shop)
    assert transfer["entries"] == [] and transfer["amount_posted"] == 0 and transfer["expires_at"]
    assert await shown(real_shop, "acct_from") == (1000, 600, 0, 400)
    assert await shown(real_shop, "acct_to") == (0, 0, 600, 0)
    at = (await balance(real_shop, "acct_from"))["at"]
    assert_problem(await real_shop.post("/transfers", {**MOVE, "amount": 401}), 422, "exceeds_available_balance")
    refused = await real_shop.post("/transfers", {**MOVE, "amount": 401, "pending": True})
    assert assert_problem(refused, 422, "exceeds_available_balance")["transfer"]["status"] == "failed"
    path = f"/transfers/{transfer['id']}/post"
    problem = assert_problem(await real_shop.post(path, {"amount": 601}), 409, "exceeds_pending_amount")
    assert problem["remaining"] == 600
    part = await real_shop.post(path, {"amount": 250, "final": False}, key="part")
    assert part.status_code == 200 and part.json()["status"] == "pending", part.text
    again = await real_shop.post(path, {"amount": 250, "final": False}, key="part")
    assert again.json() == part.json() and again.headers["idempotent-replayed"] == "true"
    assert_problem(await real_shop.post(path, {"amount": 9}, key="part"), 422, "idempotency_key_reused")
    assert await shown(real_shop, "acct_from") == (750, 350, 0, 400)
    done = (await real_shop.post(path, {"amount": 300})).json()
    assert (done["status"], done["amount_posted"]) == ("settled", 550)
    sides = [(one["direction"], one["amount"], one["balance"]) for one in done["entries"]]
    assert sides == [("debit", 250, 750), ("credit", 250, 250), ("debit", 300, 450), ("credit", 300, 550)]
    assert await shown(real_shop, "acct_from") == (450, 0, 0, 450)
    assert_problem(await real_shop.post(path), 409, "transfer_already_settled")
    assert_problem(await real_shop.post(f"/transfers/{transfer['id']}/void"), 409, "use_reverse")
    assert await events_of(real_shop, transfer["id"]) == ["transfer.pending", "transfer.posted", "transfer.posted"]
    then = await real_shop.get("/accounts/acct_from/balance", at=at)
    assert (then["posted"], then["pending_debits"], then["available"]) == (1000, 600, 400)


async def test_voided_or_expired_gives_everything_back(real_shop: Shop) -> None:
    await two_accounts(real_shop)
    first = await held(real_shop)
    path = f"/transfers/{first['id']}"
    voided = await real_shop.post(f"{path}/void", key="void")
    assert voided.status_code == 200 and voided.json()["status"] == "voided"
    again = await real_shop.post(f"{path}/void", key="void")
    assert again.json() == voided.json() and again.headers["idempotent-replayed"] == "true"
    assert_problem(await real_shop.post(f"{path}/post"), 409, "transfer_voided")
    assert_problem(await real_shop.post(f"{path}/reverse"), 409, "transfer_not_settled")
    second = await held(real_shop, expires_in_seconds=1)
    at = (await balance(real_shop, "acct_from"))["at"]
    await await_status(real_shop, f"/transfers/{second['id']}", "expired")
    assert_problem(await real_shop.post(f"/transfers/{second['id']}/post"), 409, "transfer_expired")
    assert await events_of(real_shop, second["id"]) == ["transfer.pending", "transfer.expired"]
    assert await shown(real_shop, "acct_from") == (1000, 0, 0, 1000)
    assert (await real_shop.get("/accounts/acct_from/balance", at=at))["pending_debits"] == 600
    bad = await real_shop.post("/transfers", {**MOVE, "expires_in_seconds": 5})
    assert_problem(bad, 422, "expires_without_pending", "expires_in_seconds")


async def test_post_void_and_expiry_at_once_one_wins(real_shop: Shop) -> None:
    await two_accounts(real_shop)
    for _ in range(3):
        transfer = await held(real_shop, amount=100, expires_in_seconds=1)
        await asyncio.sleep(0.93)
        path = f"/transfers/{transfer['id']}"
        verbs = ("post", "void", "post", "void")
        answers = await asyncio.gather(*[real_shop.post(f"{path}/{verb}") for verb in verbs])
        assert [answer.status_code for answer in answers].count(200) <= 1
        assert {answer.status_code for answer in answers} <= {200, 409}
        await await_status(real_shop, path, "settled", "voided", "expired")
        assert len(await events_of(real_shop, transfer["id"])) == 2
    posted, pending, _, _ = await shown(real_shop, "acct_from")
    assert pending == 0 and posted + (await shown(real_shop, "acct_to"))[0] == 1000


async def test_a_transfer_is_reversed_at_most_once(real_shop: Shop) -> None:
    await two_accounts(real_shop)
    transfer = (await real_shop.post("/transfers", MOVE)).json()
    path = f"/transfers/{transfer['id']}/reverse"
    answers = await asyncio.gather(*[real_shop.post(path, {"reason": "wrong account"}, key=f"r{n}") for n in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    won = next(n for n, answer in enumerate(answers) if answer.status_code == 201)
    reversal = answers[won].json()
    assert (reversal["reverses"], reversal["amount"], reversal["source"]) == (transfer["id"], 600, "acct_to")
    for n, answer in enumerate(answers):
        again = await real_shop.post(path, {"reason": "wrong account"}, key=f"r{n}")
        assert again.status_code == answer.status_code
        if n != won:
            assert_problem(again, 409, "transfer_already_reversed")
    shown_now = await real_shop.get(f"/transfers/{transfer['id']}")
    assert shown_now["reversed_by"] == reversal["id"] and shown_now["status"] == "settled"
    assert await shown(real_shop, "acct_from") == (1000, 0, 0, 1000)
    assert_problem(await real_shop.post(f"/transfers/{reversal['id']}/reverse"), 409, "transfer_not_reversible")
    pending = await held(real_shop)
    assert_problem(await real_shop.post(f"/transfers/{pending['id']}/reverse"), 409, "use_void")
    assert_problem(await real_shop.post("/transfers/tr_nobody/reverse"), 404)


async def test_a_reversal_without_funds_is_refused_and_may_be_asked_again(real_shop: Shop) -> None:
    await two_accounts(real_shop)
    transfer = (await real_shop.post("/transfers", MOVE)).json()
    back = {"amount": 600, "currency": "EUR", "source": "acct_to", "destination": "acct_from"}
    spent = (await real_shop.post("/transfers", back)).json()
    path = f"/transfers/{transfer['id']}/reverse"
    refused = await real_shop.post(path, key="first")
    assert_problem(refused, 422, "exceeds_available_balance")
    assert (await real_shop.get(f"/transfers/{transfer['id']}"))["reversed_by"] is None
    assert (await real_shop.post(f"/transfers/{spent['id']}/reverse")).status_code == 201
    assert_problem(await real_shop.post(path, key="first"), 422, "exceeds_available_balance")
    assert (await real_shop.post(path, key="second")).status_code == 201


async def test_backdated_transfers_change_the_effective_axis_only(real_shop: Shop) -> None:
    await two_accounts(real_shop)
    past = "2026-01-15T12:00:00.000000Z"
    before = await real_shop.get("/accounts/acct_to/balance", at=past)
    month = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    statement = await real_shop.get("/accounts/acct_to/statement", **month)
    made = await real_shop.post("/transfers", {**MOVE, "effective_at": "2026-01-10T00:00:00Z"})
    assert made.status_code == 201, made.text
    assert await real_shop.get("/accounts/acct_to/balance", at=past) == before
    assert await real_shop.get("/accounts/acct_to/statement", **month) == statement
    by_date = await real_shop.get("/accounts/acct_to/balance", at=past, axis="effective")
    assert by_date["posted"] == 600
    january = await real_shop.get("/accounts/acct_to/statement", axis="effective", **month)
    assert (january["opening"]["posted"], january["moved"], january["closing"]["posted"]) == (0, 600, 600)
    assert [entry["effective_at"] for entry in january["data"]] == ["2026-01-10T00:00:00.000000Z"]
