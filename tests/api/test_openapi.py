"""The documentation is honest: it lists what is there, and what is answered fits it."""

from typing import Any

from pydantic import BaseModel

from api import schemas
from api.statements import AccountStatement
from tests.api.conftest import Shop, World

CONTRACT = {
    "/v1/transfers": {"post", "get"},
    "/v1/transfers/{transfer_id}": {"get"},
    "/v1/transfers/{transfer_id}/post": {"post"},
    "/v1/transfers/{transfer_id}/void": {"post"},
    "/v1/transfers/{transfer_id}/reverse": {"post"},
    "/v1/fx/quotes": {"post"},
    "/v1/fx/quotes/{quote_id}": {"get"},
    "/v1/accounts": {"post", "get"},
    "/v1/accounts/{account_id}": {"get", "patch"},
    "/v1/accounts/{account_id}/statement": {"get"},
    "/v1/accounts/{account_id}/balance": {"get"},
    "/v1/accounts/{account_id}/entries": {"get"},
    "/v1/accounts/{account_id}/fund": {"post"},
    "/v1/charges": {"post", "get"},
    "/v1/charges/{charge_id}": {"get"},
    "/v1/charges/{charge_id}/capture": {"post"},
    "/v1/charges/{charge_id}/void": {"post"},
    "/v1/charges/{charge_id}/authenticate": {"post"},
    "/v1/refunds": {"post", "get"},
    "/v1/payouts": {"post", "get"},
    "/v1/disputes": {"get"},
    "/v1/rails": {"get"},
    "/v1/routing/policy": {"get", "put"},
    "/v1/routing/quote": {"post"},
    "/v1/risk/policy": {"get", "put"},
    "/v1/risk/score": {"post"},
    "/v1/pricing": {"get"},
    "/v1/events": {"get"},
    "/v1/audit/records": {"get"},
    "/v1/ledger/trial_balance": {"get"},
    "/v1/ledger/invariants": {"get"},
    "/v1/reconciliation/exceptions": {"get"},
    "/v1/reconciliation/exceptions/{exception_id}/resolve": {"post"},
    "/v1/merchants": {"post"},
    "/v1/api_keys": {"post", "get"},
    "/v1/api_keys/{key_id}": {"delete"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}


async def test_the_contract_is_listed_and_every_reference_resolves(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    for path, methods in CONTRACT.items():
        assert methods <= document["paths"][path].keys(), path
    known = document["components"]["schemas"].keys() | document["components"]["headers"].keys()
    missing = {reference for reference in references(document) if reference.rsplit("/", 1)[-1] not in known}
    assert missing == set()
    create = document["paths"]["/v1/charges"]["post"]
    body = create["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert body.endswith("/CreateCharge")
    amount = document["components"]["schemas"]["CreateCharge"]["properties"]["amount"]
    assert amount["type"] == "integer" and amount["minimum"] == 1
    assert {"201", "202", "402", "422", "503"} <= create["responses"].keys()
    links = create["responses"]["201"]["links"]
    assert links["capture_charge_v1_charges__charge_id__capture_post"]["parameters"] == {
        "charge_id": "$response.body#/id"
    }
    assert (await world.http.get("/docs")).status_code == 200


async def test_a_method_not_taken_is_told_every_method_that_is(world: World) -> None:
    answer = await world.http.request("OPTIONS", "/v1/charges")
    assert answer.status_code == 405 and answer.json()["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, POST"
    answer = await world.http.request("OPTIONS", "/v1/events/replay")
    assert answer.headers["allow"] == "POST", "not the GET of /v1/events/{event_id}"
    answer = await world.http.request("OPTIONS", "/v1/accounts/acct_a")
    assert answer.headers["allow"] == "GET, PATCH"


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


async def test_answers_fit_their_schemas(real_shop: Shop) -> None:
    card = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291"}
    charge = (await real_shop.post("/charges", card)).json()
    await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": 500})
    refund = (await real_shop.post("/refunds", {"charge": charge["id"], "amount": 100})).json()
    await real_shop.post("/accounts", {"currency": "EUR", "id": "acct_fit"})
    funding = (await real_shop.post("/accounts/acct_fit/fund", {"amount": 500})).json()
    move = {"amount": 50, "currency": "EUR", "source": "acct_fit", "destination": charge["account"]}
    held = (await real_shop.post("/transfers", {**move, "pending": True})).json()
    posted = (await real_shop.post(f"/transfers/{held['id']}/post", {"amount": 20})).json()
    reversal = (await real_shop.post(f"/transfers/{posted['id']}/reverse")).json()
    statement = await real_shop.get("/accounts/acct_fit/statement", **{"from": "2026-01-01T00:00:00Z"})
    pair = {"sell_currency": "EUR", "buy_currency": "USD", "sell_amount": 100}
    quote = (await real_shop.post("/fx/quotes", pair)).json()
    await real_shop.post("/accounts", {"currency": "USD", "id": "acct_fit_usd"})
    sold = {"amount": 100, "currency": "EUR", "source": "acct_fit", "destination": "acct_fit_usd"}
    exchange = (await real_shop.post("/transfers", {**sold, "fx_quote": quote["id"]})).json()
    destination = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada"}
    order = {"amount": 100, "currency": "EUR", "source": "acct_fit", "destination": destination}
    payout = (await real_shop.post("/payouts", order)).json()
    declined = (await real_shop.post("/charges", {**card, "source": "tok_declined_hard"})).json()
    shown: list[tuple[type[BaseModel], Any]] = [
        (schemas.Charge, charge),
        (schemas.Charge, declined["charge"]),
        (schemas.Problem, declined),
        (schemas.Refund, refund),
        (schemas.Transfer, funding),
        *((schemas.Transfer, one) for one in (held, posted, reversal)),
        (AccountStatement, statement),
        (schemas.FxQuote, quote),
        (schemas.Transfer, exchange),
        (schemas.Payout, payout),
        (schemas.Account, await real_shop.get("/accounts/acct_fit")),
        (schemas.Balance, await real_shop.get("/accounts/acct_fit/balance")),
        *((schemas.EntryShown, entry) for entry in (await real_shop.get("/accounts/acct_fit/entries"))["data"]),
        *((schemas.Event, event) for event in (await real_shop.get("/events"))["data"]),
    ]
    for model, document in shown:
        model.model_validate(document, strict=True)
