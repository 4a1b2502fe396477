"""What a newcomer is shown, from outside: the page's own calls, their retries, balances, events, the commands."""

import asyncio
import json
from typing import Any

import httpx
from temporalio.client import Client

from tests.e2e.instance import LedgerlineInstance
from tests.e2e.shop import Shop, World, assert_problem, fresh_key

AMOUNT, FEE = 8420, 158
ORDER = {"amount": AMOUNT, "currency": "EUR", "source": "tok_visa_4291", "rail": "auto", "capture": True}
AT_ONCE, CONNECTIONS = 200, 8


def _pages_call(shop: Shop) -> httpx.Response:
    return shop.post("/charges", ORDER, key="ord_7741")


def test_the_sandbox_file_says_all_a_newcomer_needs(instance: LedgerlineInstance) -> None:
    named = {"api_url", "test_key", "admin_key", "temporal_address", "temporal_ui_url", "database_url", "rails_url"}
    assert named <= instance.sandbox.keys()
    assert (instance.home / "sandbox.json").stat().st_mode & 0o777 == 0o600
    assert instance.sandbox["test_key"] in instance.output()
    assert httpx.get(f"{instance.sandbox['api_url']}/healthz", trust_env=False).status_code == 200
    assert httpx.get(instance.sandbox["temporal_ui_url"], trust_env=False, follow_redirects=True).status_code == 200


def test_the_pages_call_settles_with_the_pages_fee(shop: Shop, world: World) -> None:
    account = shop.own_account()
    before = shop.posted(account)
    answer = _pages_call(shop)
    assert answer.status_code == 201, answer.text
    charge = answer.json()
    assert (charge["object"], charge["status"], charge["amount"], charge["currency"]) == (
        "charge",
        "settled",
        AMOUNT,
        "EUR",
    )
    assert (charge["fee"], charge["net"], charge["amount_captured"], charge["amount_refunded"]) == (
        FEE,
        AMOUNT - FEE,
        AMOUNT,
        0,
    )
    assert charge["account"] == account and shop.posted(account) == before + AMOUNT - FEE
    assert [row["kind"] for row in world.operations_of(charge["id"])] == ["authorize"]
    assert charge["risk"]["decision"] == "allow" and 0 <= charge["risk"]["score"] <= 1
    assert len(charge["route"]) >= 3, "every connected card network is weighed"
    assert shop.get(f"/charges/{charge['id']}") == charge

    again = _pages_call(shop)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.content == answer.content
    assert shop.posted(account) == before + AMOUNT - FEE


def test_the_pages_transfer_posts_two_opposing_entries(shop: Shop) -> None:
    source, destination = "acct_user_8f3c", "acct_merch_a21"
    before = shop.posted(source), shop.posted(destination)
    body = {
        "amount": AMOUNT,
        "currency": "EUR",
        "source": source,
        "destination": destination,
        "rail": "auto",
        "idempotency_key": "ord_7741_v2",
    }
    answer = shop.send("POST", "/v1/transfers", json=body)
    assert answer.status_code == 201, answer.text
    transfer = answer.json()
    assert (transfer["status"], transfer["rail"]) == ("settled", "book")
    debit, credit = transfer["entries"]
    assert (debit["account"], debit["direction"], debit["amount"]) == (source, "debit", AMOUNT)
    assert (credit["account"], credit["direction"], credit["amount"]) == (destination, "credit", AMOUNT)
    assert (debit["balance"], credit["balance"]) == (before[0] - AMOUNT, before[1] + AMOUNT)
    assert (shop.posted(source), shop.posted(destination)) == (before[0] - AMOUNT, before[1] + AMOUNT)
    assert shop.send("POST", "/v1/transfers", json=body).content == answer.content
    assert shop.posted(source) == before[0] - AMOUNT


async def test_one_key_200_times_at_once(instance: LedgerlineInstance, shop: Shop, world: World) -> None:
    account = shop.own_account()
    before, known = shop.posted(account), {charge["id"] for charge in shop.every("/charges")}
    key = fresh_key("at_once")
    answers = await _post_at_once(instance, {**ORDER, "amount": 4321}, key)

    assert {answer.status_code for answer in answers} == {201}, [a.text for a in answers if a.status_code != 201][:3]
    assert len({answer.content for answer in answers}) == 1
    charge = answers[0].json()
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert {one["id"] for one in shop.every("/charges")} - known == {charge["id"]}
    (operation,) = world.operations_of(charge["id"])
    assert (operation["kind"], operation["outcome"], operation["calls"]) == ("authorize", "approved", 1)
    assert shop.posted(account) == before + 4321 - charge["fee"]
    credits = [entry for entry in shop.every(f"/accounts/{account}/entries") if entry["amount"] == 4321]
    assert len(credits) == 1
    client = await Client.connect(instance.sandbox["temporal_address"])
    runs = await client.count_workflows(f"WorkflowId = '{charge['workflow_id']}'")
    assert runs.count == 1


async def _post_at_once(instance: LedgerlineInstance, body: dict[str, Any], key: str) -> list[httpx.Response]:
    headers = {"Authorization": f"Bearer {instance.sandbox['test_key']}", "Idempotency-Key": key}
    limits = httpx.Limits(max_connections=AT_ONCE // CONNECTIONS)
    clients = [
        httpx.AsyncClient(
            base_url=instance.sandbox["api_url"], headers=headers, timeout=60, trust_env=False, limits=limits
        )
        for _ in range(CONNECTIONS)
    ]
    posts = [clients[number % CONNECTIONS].post("/v1/charges", json=body) for number in range(AT_ONCE)]
    answers = await asyncio.gather(*posts)
    for client in clients:
        await client.aclose()
    return list(answers)


def test_the_same_key_with_another_request_names_what_differs(shop: Shop, world: World) -> None:
    key, account = fresh_key(), shop.own_account()
    first = shop.charge("tok_visa_4291", 5000, key=key).json()
    before = shop.posted(account)
    assert_problem(shop.charge("tok_visa_4291", 5001, key=key), 422, "idempotency_key_reused", "amount")
    other_source = shop.charge("tok_declined_soft", 5000, key=key)
    assert_problem(other_source, 422, "idempotency_key_reused", "source")
    other_route = shop.post("/refunds", {"charge": first["id"]}, key=key)
    assert_problem(other_route, 422, "idempotency_key_reused")
    reordered = json.dumps(dict(reversed(list({**ORDER, "amount": 5000}.items()))), indent=3)
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    assert shop.send("POST", "/v1/charges", content=reordered, headers=headers).json() == first
    assert len(world.operations_of(first["id"])) == 1
    assert shop.posted(account) == before


def test_a_balance_of_the_past_never_changes(shop: Shop) -> None:
    account, other = shop.account(funds=10_000), shop.account()
    moments = []
    for amount in (1_000, 2_500, 300):
        moments.append(shop.get(f"/accounts/{account}/balance"))
        body = {"amount": amount, "currency": "EUR", "source": account, "destination": other}
        assert shop.post("/transfers", body).status_code == 201
    assert [moment["posted"] for moment in moments] == [10_000, 9_000, 6_500]
    for moment in moments:
        then = shop.get(f"/accounts/{account}/balance", at=moment["at"])
        assert then == {**moment, "at": then["at"]}
    entries = shop.every(f"/accounts/{account}/entries")
    assert sorted(entry["amount"] for entry in entries) == [300, 1_000, 2_500, 10_000]
    assert shop.posted(account) == 6_200 and shop.posted(other) == 3_800


def test_events_are_gapless_and_tell_of_every_change(shop: Shop) -> None:
    charge = shop.charge("tok_soft_then_approved").json()
    sequence, told = 0, []
    while page := shop.get("/events", after=sequence, limit=100)["data"]:
        for event in page:
            assert (event["sequence"], event["previous_sequence"]) == (sequence + 1, sequence)
            sequence = event["sequence"]
        told += [(event["type"], event["data"]["object"]["status"]) for event in page if _about(event, charge)]
    assert told == [("charge.created", "processing"), ("charge.settled", "settled")]


def _about(event: dict[str, Any], charge: dict[str, Any]) -> bool:
    return bool(event["data"]["object"]["id"] == charge["id"])


def test_audit_records_say_who_did_what(shop: Shop) -> None:
    charge = shop.charge("tok_visa_4291", 777).json()
    records = shop.get("/audit/records", object_id=charge["id"])["data"]
    assert [record["action"] for record in records] == ["charge.created", "charge.settled"]
    assert all(record["actor"].startswith("api_key:") for record in records)


def test_card_numbers_are_only_in_the_vault(shop: Shop, world: World, instance: LedgerlineInstance) -> None:
    number = "4242424242424242"
    card = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": "123"}
    token = shop.post("/tokens", {"card": card})
    assert token.status_code == 201, token.text
    assert token.json()["last4"] == "4242" and number not in token.text
    charge = shop.charge(token.json()["id"])
    assert charge.status_code == 201 and charge.json()["status"] in ("settled", "captured"), charge.text
    (operation,) = world.operations_of(charge.json()["id"])
    assert operation["outcome"] == "approved"
    for log in (instance.home / "logs").glob("*.log"):
        assert number not in log.read_text(errors="replace")


def test_the_book_balances_to_the_cent(shop: Shop, admin: Shop) -> None:
    assert {currency["delta"] for currency in admin.get("/ledger/trial_balance")["currencies"]} == {0}
    mine = {row["account"]: row["posted"] for row in shop.get("/ledger/trial_balance")["accounts"]}
    assert mine["acct_user_8f3c"] == shop.posted("acct_user_8f3c")
    invariants = admin.get("/ledger/invariants", full="true")
    assert invariants["ok"] and invariants["violations"] == [] and invariants["entries_checked"] > 0


def test_replay_tells_the_story_of_a_charge(instance: LedgerlineInstance, shop: Shop) -> None:
    charge = shop.charge("tok_soft_then_approved").json()
    for name in (charge["id"], charge["workflow_id"]):
        told = instance.run_command("replay", name)
        assert told.returncode == 0, told.stdout + told.stderr
        for word in ("assess", "attempt", "post", charge["attempts"][0]["rail"], charge["attempts"][1]["rail"]):
            assert word in told.stdout, (word, told.stdout)
    assert instance.run_command("replay", "ch_nobody").returncode != 0


def test_the_demo_tells_the_pages_story(instance: LedgerlineInstance) -> None:
    told = instance.run_command("demo")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "settled" in told.stdout and "1.58" in told.stdout
