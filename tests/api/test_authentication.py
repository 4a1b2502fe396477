"""Who may call: keys, their kinds and modes, revocation."""

import asyncio

from api.merchants import create_api_key, revoke_api_key
from domain.identifiers import Mode
from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem


async def test_wrong_keys_are_401_with_a_challenge(world: World, shop: Shop) -> None:
    wrong = ["", "Bearer", "Bearer nonsense", f"Bearer sk_test_{'a' * 43}", "Basic c2s6", f"Bearer {shop.key}x"]
    for authorization in wrong:
        answer = await world.http.get("/v1/charges", headers={"Authorization": authorization})
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "sk_test" not in answer.text.replace("sk_test_…", "")
    assert_problem(await world.http.get("/v1/charges"), 401, "api_key_required")


async def test_a_revoked_key_is_refused_once_the_cache_is_stale(world: World) -> None:
    shop = await world.shop()
    assert (await shop.send("GET", "/charges")).status_code == 200
    async with world.services.key_admin.begin() as connection:
        again = await create_api_key(connection, merchant_id=shop.merchant_id)
        assert again.secret is not None
        await revoke_api_key(connection, again.id)
    revoked = Shop(world.http, again.secret, shop.merchant_id)
    assert_problem(await revoked.send("GET", "/charges"), 401, "api_key_invalid")


async def test_revoking_over_http_takes_effect_within_the_cache_time(world: World) -> None:
    admin = await world.admin()
    made = (await admin.post("/merchants", {"name": "Caché"})).json()
    key = (await admin.post("/api_keys", {"merchant": made["id"], "mode": "live"})).json()
    assert key["secret"].startswith("sk_live_") and key["last4"] == key["secret"][-4:]
    shop = Shop(world.http, key["secret"], made["id"])
    assert (await shop.send("GET", "/charges")).status_code == 200
    deleted = await admin.send("DELETE", f"/api_keys/{key['id']}")
    assert deleted.status_code == 200 and deleted.json()["status"] == "revoked"
    await asyncio.sleep(world.services.key_cache_seconds + 0.05)
    assert_problem(await shop.send("GET", "/charges"), 401, "api_key_invalid")
    assert [one["status"] for one in (await admin.get("/api_keys", merchant=made["id"]))["data"]] == ["revoked"]


async def test_kinds_of_keys_stay_in_their_rooms(world: World, shop: Shop) -> None:
    admin = await world.admin()
    body = {"amount": 1, "currency": "EUR", "source": "tok_visa_4291"}
    assert_problem(await admin.post("/charges", body), 403, "merchant_key_required")
    for method, path in (
        ("POST", "/merchants"),
        ("POST", "/api_keys"),
        ("GET", "/api_keys"),
        ("DELETE", "/api_keys/k"),
    ):
        assert_problem(await shop.send(method, path, json={}), 403, "admin_key_required")


async def test_modes_are_two_worlds(world: World) -> None:
    shop = await world.shop()
    async with world.services.key_admin.begin() as connection:
        live_key = await create_api_key(connection, merchant_id=shop.merchant_id, mode=Mode.LIVE)
    assert live_key.secret is not None
    live = Shop(world.http, live_key.secret, shop.merchant_id)
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_two_worlds"})
    assert_problem(await live.send("GET", "/accounts/acct_two_worlds"), 404)
    opened = await live.post("/accounts", {"currency": "USD", "id": "acct_two_worlds"})
    assert opened.status_code == 201 and opened.json()["livemode"] is True
    assert (await shop.get("/accounts/acct_two_worlds"))["currency"] == "EUR"
    assert_problem(await live.post("/accounts/acct_two_worlds/fund", {"amount": 1}), 403, "sandbox_only")
    body = {"amount": 1, "currency": "EUR", "source": "tok_visa_4291"}
    assert_problem(await live.post("/charges", body), 404, "token_not_found", "source")


async def test_making_merchants_and_keys_is_idempotent_and_audited(world: World) -> None:
    admin = await world.admin()
    first = await admin.post("/merchants", {"name": "Twice"}, key="m1")
    again = await admin.post("/merchants", {"name": "Twice"}, key="m1")
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    merchant = first.json()["id"]
    made = await admin.post("/api_keys", {"merchant": merchant}, key="k1")
    repeated = await admin.post("/api_keys", {"merchant": merchant}, key="k1")
    assert repeated.json()["id"] == made.json()["id"] and "secret" not in repeated.json()
    assert_problem(await admin.post("/api_keys", {"merchant": "mer_nobody"}), 404, "merchant_not_found")
    records = (await admin.get("/audit/records", limit=1000))["data"]
    acts = [(one["action"], one["object_id"]) for one in records]
    assert acts.count(("merchant.created", merchant)) == 1
    assert acts.count(("api_key.created", made.json()["id"])) == 1
    assert made.json()["secret"] not in str(records)
