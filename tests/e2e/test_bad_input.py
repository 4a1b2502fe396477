"""Bad input gets the right 4xx and a clear problem, and moves no money (semantics rule 17)."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.instance import LedgerlineInstance
from tests.e2e.shop import Shop, assert_problem, fresh_key

ORDER: dict[str, Any] = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291"}
BEYOND = 10**16
FIELDS: list[tuple[dict[str, Any], tuple[int, ...], str | None]] = [
    ({"amount": 84.20}, (400, 422), "amount"),
    ({"amount": 84.0}, (400, 422), "amount"),
    ({"amount": "8420"}, (400, 422), "amount"),
    ({"amount": True}, (400, 422), "amount"),
    ({"amount": None}, (400, 422), "amount"),
    ({"amount": [8420]}, (400, 422), "amount"),
    ({"amount": -1}, (400, 422), "amount"),
    ({"amount": 0}, (400, 422), "amount"),
    ({"amount": BEYOND}, (400, 422), "amount"),
    ({"amount": 2**63}, (400, 422), "amount"),
    ({"amount": 10**400}, (400, 422), "amount"),
    ({"currency": "eur"}, (400, 422), "currency"),
    ({"currency": "XXQ"}, (400, 422), "currency"),
    ({"currency": "EURO"}, (400, 422), "currency"),
    ({"currency": 978}, (400, 422), "currency"),
    ({"source": ""}, (400, 422), "source"),
    ({"source": "4242424242424242"}, (400, 422), "source"),
    ({"source": 4291}, (400, 422), "source"),
    ({"source": "tok_'; DROP TABLE entries; --"}, (400, 422), "source"),
    ({"capture": "yes"}, (422,), "capture"),
    ({"rail": "no_such_rail"}, (422,), "rail"),
    ({"account": "acct_nobody_has_it"}, (404,), "account"),
    ({"amuont": 8420}, (422,), "amuont"),
    ({"metadata": {"note": 1}}, (422,), None),
    ({"metadata": {"note": "\x00"}}, (422,), None),
    ({"metadata": {"card": "4242 4242 4242 4242"}}, (422,), None),
]
BODIES: list[tuple[bytes, tuple[int, ...]]] = [
    (b"", (400, 422)),
    (b"{", (400,)),
    (b'{"amount": 8420,}', (400,)),
    (b'{"amount": NaN}', (400,)),
    (b'{"amount": 1, "amount": 2}', (400,)),
    (b"null", (422,)),
    (b"[]", (422,)),
    (b"8420", (422,)),
    (b"\xff\xfe\x00", (400,)),
    (b"[" * 100_000, (400, 422)),
]


def test_every_unfit_field_of_a_charge(shop: Shop) -> None:
    before, charges = shop.balances(), len(shop.every("/charges"))
    for change, statuses, param in FIELDS:
        answer = shop.post("/charges", {**ORDER, **change})
        assert answer.status_code in statuses, (change, answer.status_code, answer.text)
        assert_problem(answer, answer.status_code, param=param)
    for missing in ORDER:
        rest = {name: value for name, value in ORDER.items() if name != missing}
        answer = shop.post("/charges", rest)
        assert_problem(answer, 422, f"{missing}_required", missing)
    assert (shop.balances(), len(shop.every("/charges"))) == (before, charges)


def test_amount_codes_say_what_is_wrong(shop: Shop) -> None:
    for amount in (0, -8420):
        assert_problem(shop.post("/charges", {**ORDER, "amount": amount}), 422, "amount_must_be_positive", "amount")


def test_every_unfit_body(shop: Shop) -> None:
    before = shop.balances()
    for body, statuses in BODIES:
        headers = {"Idempotency-Key": fresh_key(), "Content-Type": "application/json"}
        answer = shop.send("POST", "/v1/charges", content=body, headers=headers)
        assert answer.status_code in statuses, (body[:40], answer.status_code, answer.text)
        assert_problem(answer, answer.status_code)
    form = shop.send("POST", "/v1/charges", data={"amount": "8420"}, headers={"Idempotency-Key": fresh_key()})
    assert_problem(form, 415)
    assert shop.balances() == before


def test_a_body_of_10_mb_is_refused_and_the_next_request_served(shop: Shop) -> None:
    before = shop.balances()
    large = json.dumps({**ORDER, "description": "x" * 10_000_000}).encode()
    headers = {"Idempotency-Key": fresh_key(), "Content-Type": "application/json"}
    assert_problem(shop.send("POST", "/v1/charges", content=large, headers=headers), 413)
    assert shop.balances() == before


def test_keys_of_every_wrong_kind(shop: Shop, instance: LedgerlineInstance) -> None:
    before = shop.balances()
    assert_problem(shop.send("POST", "/v1/charges", json=ORDER), 400, "idempotency_key_required")
    for key in ("x" * 256, "tab\there"):
        assert_problem(shop.post("/charges", ORDER, key=key), 400)
    both = {**ORDER, "idempotency_key": fresh_key()}
    assert_problem(shop.post("/charges", both, key=fresh_key()), 400)
    for authorization in ("", "Bearer", "Bearer nonsense", f"Bearer sk_test_{'a' * 43}", "Basic c2s6"):
        headers = {"Authorization": authorization, "Idempotency-Key": fresh_key()}
        assert_problem(shop.send("POST", "/v1/charges", json=ORDER, headers=headers), 401)
    assert_problem(shop.send("GET", "/v1/charges", headers={"Authorization": ""}), 401)
    admin = {"Authorization": f"Bearer {instance.sandbox['admin_key']}", "Idempotency-Key": fresh_key()}
    assert_problem(shop.send("POST", "/v1/charges", json=ORDER, headers=admin), 403)
    assert shop.balances() == before


def test_paths_and_methods_that_are_not_there(shop: Shop) -> None:
    assert_problem(shop.send("GET", "/v1/nothing"), 404)
    assert_problem(shop.send("GET", "/v1/charges/ch_nobody"), 404)
    assert_problem(shop.send("GET", "/v1/charges/%00"), 404)
    assert_problem(shop.send("DELETE", "/v1/charges"), 405)
    assert_problem(shop.send("GET", "/v1/charges", params={"limit": "many"}), 422)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount": 10_001}, 422, "exceeds_available_balance"),
        ({"destination": "acct_nobody_has_it"}, 404, "account_not_found"),
        ({"source": "acct_nobody_has_it"}, 404, "account_not_found"),
        ({"currency": "USD"}, 422, "currency_mismatch"),
        ({"rail": "card_alpha"}, 422, None),
        ({"destination": "rail_clearing:card_alpha:EUR:test"}, 422, None),
        ({"source": "sandbox_funding:EUR:test"}, 422, None),
    ],
)
def test_transfers_the_book_refuses(shop: Shop, change: dict[str, Any], status: int, code: str | None) -> None:
    source, destination = shop.account(funds=10_000), shop.account()
    body = {"amount": 500, "currency": "EUR", "source": source, "destination": destination, **change}
    key = fresh_key()
    assert_problem(shop.post("/transfers", body, key=key), status, code)
    assert (shop.posted(source), shop.posted(destination)) == (10_000, 0)
    if code == "exceeds_available_balance":
        # A refusal by the ledger is remembered: funding the account later must not turn the retry into a yes.
        assert shop.post(f"/accounts/{source}/fund", {"amount": 10_000}).status_code == 201
        assert_problem(shop.post("/transfers", body, key=key), status, code)
        assert (shop.posted(source), shop.posted(destination)) == (20_000, 0)


def test_a_transfer_to_itself_or_across_currencies(shop: Shop) -> None:
    euros, dollars = shop.account(funds=1_000), shop.account(currency="USD")
    body = {"amount": 500, "currency": "EUR", "source": euros}
    assert_problem(shop.post("/transfers", {**body, "destination": euros}), 422)
    assert_problem(shop.post("/transfers", {**body, "destination": dollars}), 400)
    assert (shop.posted(euros), shop.posted(dollars)) == (1_000, 0)


def test_half_a_request_moves_nothing(shop: Shop, instance: LedgerlineInstance) -> None:
    account = shop.account()
    address = urlsplit(instance.sandbox["api_url"])
    body = json.dumps({**ORDER, "account": account}).encode()
    head = (
        f"POST /v1/charges HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer "
        f"{instance.sandbox['test_key']}\r\nIdempotency-Key: {fresh_key()}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        connection.sendall(head + body[:-1])
    assert shop.posted(account) == 0
    assert [charge for charge in shop.every("/charges") if charge["account"] == account] == []
