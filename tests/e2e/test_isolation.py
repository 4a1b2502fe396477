"""Two merchants of one instance see and touch nothing of each other (another's object: 404)."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.instance import LedgerlineInstance
from tests.e2e.shop import Shop, assert_problem, fresh_key

IBAN = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada Ordinary"}


@pytest.fixture(scope="module")
def rival(instance: LedgerlineInstance) -> Iterator[Shop]:
    """A second merchant, made with the admin key."""
    admin = Shop(instance.sandbox["api_url"], instance.sandbox["admin_key"])
    merchant = admin.post("/merchants", {"name": "Rival"})
    assert merchant.status_code == 201, merchant.text
    key = admin.post("/api_keys", {"merchant": merchant.json()["id"], "mode": "test", "kind": "secret"})
    assert key.status_code == 201, key.text
    admin.close()
    shop = Shop(instance.sandbox["api_url"], key.json()["secret"])
    yield shop
    shop.close()


def test_another_merchants_objects_are_not_there(shop: Shop, rival: Shop) -> None:
    account = shop.account(funds=10_000)
    charge = shop.charge("tok_visa_4291", account=account).json()
    held = shop.charge("tok_visa_4291", account=account, capture=False).json()
    refund = shop.post("/refunds", {"charge": charge["id"], "amount": 100}).json()
    payout = shop.post("/payouts", {"amount": 100, "currency": "EUR", "source": account, "destination": IBAN}).json()
    body = {"amount": 1, "currency": "EUR", "source": account, "destination": shop.account()}
    transfer = shop.post("/transfers", body).json()
    shop.await_status(f"/payouts/{payout['id']}", "paid")
    before = shop.balances()
    for path in (
        f"/charges/{charge['id']}",
        f"/refunds/{refund['id']}",
        f"/payouts/{payout['id']}",
        f"/transfers/{transfer['id']}",
        f"/accounts/{account}",
        f"/accounts/{account}/balance",
        f"/accounts/{account}/entries",
    ):
        assert shop.get(path)
        assert_problem(rival.send("GET", f"/v1{path}"), 404)
    touches: list[tuple[str, dict[str, Any]]] = [
        (f"/charges/{held['id']}/capture", {}),
        (f"/charges/{held['id']}/void", {}),
        (f"/charges/{held['id']}/authenticate", {"result": "success"}),
        ("/refunds", {"charge": charge["id"]}),
        (f"/accounts/{account}/fund", {"amount": 1}),
        ("/payouts", {"amount": 1, "currency": "EUR", "source": account, "destination": IBAN}),
        ("/transfers", {**body, "destination": rival.account()}),
        ("/transfers", {**body, "source": rival.account(funds=5), "destination": account}),
        ("/charges", {"amount": 500, "currency": "EUR", "source": "tok_visa_4291", "account": account}),
    ]
    for path, wanted in touches:
        assert_problem(rival.post(path, wanted), 404)
    assert shop.balances() == before
    for path in ("/charges", "/refunds", "/payouts"):
        assert rival.every(path) == []
    assert account not in {one["id"] for one in rival.every("/accounts")}
    mine = rival.get("/ledger/trial_balance")["accounts"]
    assert account not in {row["account"] for row in mine}


def test_keys_events_and_audit_are_each_merchants_own(shop: Shop, rival: Shop) -> None:
    key = fresh_key("shared")
    first, second = shop.charge("tok_visa_4291", 700, key=key), rival.charge("tok_visa_4291", 900, key=key)
    assert (first.status_code, second.status_code) == (201, 201), "one key space per merchant"
    assert first.json()["id"] != second.json()["id"]
    events = rival.get("/events", limit=100)["data"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert first.json()["id"] not in {event["data"]["object"]["id"] for event in events}
    records = rival.get("/audit/records", limit=1000)["data"]
    assert first.json()["id"] not in {record["object_id"] for record in records}
    assert second.json()["id"] in {record["object_id"] for record in records}


def test_a_merchants_key_is_no_admin_key(shop: Shop) -> None:
    for path in ("/merchants", "/api_keys"):
        assert_problem(shop.post(path, {"name": "Mallory"}), 403)
    assert shop.send("GET", "/v1/api_keys").status_code == 403
