"""Bad input: the right 4xx with code and param, nothing started, nothing moved, nothing echoed."""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.conftest import Shop, World
from tests.api.problems import assert_problem

CHARGE: dict[str, Any] = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291"}
TRANSFER: dict[str, Any] = {"amount": 100, "currency": "EUR", "source": "acct_a", "destination": "acct_b"}
QUOTE: dict[str, Any] = {"sell_currency": "EUR", "buy_currency": "USD", "sell_amount": 100}
IBAN = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada Lovelace"}
PAYOUT: dict[str, Any] = {"amount": 100, "currency": "EUR", "source": "acct_a", "destination": IBAN}
CARD = "4242424242424242"

FIELDS: list[tuple[str, dict[str, Any], dict[str, Any], int, str, str]] = [
    ("/charges", CHARGE, {"amount": 84.2}, 422, "amount_must_be_integer", "amount"),
    ("/charges", CHARGE, {"amount": 100.0}, 422, "amount_must_be_integer", "amount"),
    *(
        ("/charges", CHARGE, {"amount": text}, 422, "amount_must_be_integer", "amount")
        for text in (
            "8420",
            "0",
            "-5",
            "9" * 5000,
            str(10**15 + 1),
            "",
            "84.20",
            "8420.0",
            " 8420",
            "8420 ",
            "084",
            "+8420",
            "8e3",
            "8_420",
            "٨٤",
            "0x10",
            "-",
        )
    ),
    ("/charges", CHARGE, {"amount": False}, 422, "amount_must_be_integer", "amount"),
    ("/charges", CHARGE, {"amount": True}, 422, "amount_must_be_integer", "amount"),
    ("/charges", CHARGE, {"amount": None}, 422, "amount_must_be_integer", "amount"),
    ("/charges", CHARGE, {"amount": [1]}, 422, "amount_must_be_integer", "amount"),
    ("/charges", CHARGE, {"amount": 0}, 422, "amount_must_be_positive", "amount"),
    ("/charges", CHARGE, {"amount": -5}, 422, "amount_must_be_positive", "amount"),
    ("/charges", CHARGE, {"amount": 10**15 + 1}, 422, "amount_too_large", "amount"),
    ("/charges", CHARGE, {"amount": 10**400}, 422, "amount_too_large", "amount"),
    ("/charges", CHARGE, {"currency": "eur"}, 422, "unknown_currency", "currency"),
    ("/charges", CHARGE, {"currency": "XXQ"}, 422, "unknown_currency", "currency"),
    ("/charges", CHARGE, {"currency": 978}, 422, "currency_must_be_string", "currency"),
    ("/charges", CHARGE, {"source": CARD}, 422, "source_invalid", "source"),
    ("/charges", CHARGE, {"source": ""}, 422, "source_invalid", "source"),
    ("/charges", CHARGE, {"source": "tok_nobody_has_it"}, 404, "token_not_found", "source"),
    ("/charges", CHARGE, {"amuont": 1}, 422, "unknown_field", "amuont"),
    ("/charges", CHARGE, {CARD: 1}, 422, "unknown_field", "(unnamed)"),
    ("/charges", CHARGE, {"capture": "yes"}, 422, "capture_must_be_boolean", "capture"),
    ("/charges", CHARGE, {"capture": 1}, 422, "capture_must_be_boolean", "capture"),
    ("/charges", CHARGE, {"rail": "no_such_rail"}, 422, "unknown_rail", "rail"),
    ("/charges", CHARGE, {"rail": "sepa"}, 422, "unknown_rail", "rail"),
    ("/charges", CHARGE, {"account": "acct_nobody"}, 404, "account_not_found", "account"),
    ("/charges", CHARGE, {"account": "mer_x/test/acct_a"}, 422, "account_invalid", "account"),
    ("/charges", CHARGE, {"metadata": {"a": 1}}, 422, "a_must_be_string", "metadata.a"),
    ("/charges", CHARGE, {"metadata": {"a": "x" * 501}}, 422, "metadata_too_long", "metadata"),
    ("/charges", CHARGE, {"metadata": {f"k{n}": "" for n in range(51)}}, 422, "metadata_too_long", "metadata"),
    ("/charges", CHARGE, {"metadata": {"pan": "4242 4242 4242 4242"}}, 422, "card_number_not_allowed", "metadata"),
    ("/charges", CHARGE, {"description": CARD}, 422, "card_number_not_allowed", "description"),
    ("/charges", CHARGE, {"description": "\x00"}, 422, "invalid_characters", ""),
    ("/charges", CHARGE, {"return_url": "javascript:alert(1)"}, 422, "return_url_invalid", "return_url"),
    ("/charges", CHARGE, {"payout": {"rail": "auto"}}, 422, "destination_required", "payout.destination"),
    ("/transfers", TRANSFER, {"destination": "acct_a"}, 422, "accounts_must_differ", "destination"),
    ("/transfers", TRANSFER, {}, 404, "account_not_found", "source"),
    ("/transfers", TRANSFER, {"rail": "alpha"}, 422, "unknown_rail", "rail"),
    ("/transfers", TRANSFER, {"effective_at": "yesterday"}, 422, "timestamp_invalid", "effective_at"),
    ("/transfers", TRANSFER, {"effective_at": "2026-11-22T10:00:00"}, 422, "timestamp_invalid", "effective_at"),
    ("/transfers", TRANSFER, {"fx_quote": "fxq"}, 422, "fx_quote_invalid", "fx_quote"),
    ("/transfers", TRANSFER, {"fx_quote": "fxq_nobody"}, 404, "fx_quote_not_found", "fx_quote"),
    ("/fx/quotes", QUOTE, {"sell_amount": 1.5}, 422, "sell_amount_must_be_integer", "sell_amount"),
    ("/fx/quotes", QUOTE, {"sell_amount": 0}, 422, "amount_must_be_positive", "sell_amount"),
    ("/fx/quotes", QUOTE, {"sell_amount": None}, 422, "sell_amount_required", "sell_amount"),
    ("/fx/quotes", QUOTE, {"buy_amount": 5}, 422, "buy_amount_not_allowed", "buy_amount"),
    ("/fx/quotes", QUOTE, {"buy_currency": "EUR"}, 422, "currencies_must_differ", "buy_currency"),
    ("/fx/quotes", QUOTE, {"buy_currency": "BTC"}, 422, "unknown_currency", "buy_currency"),
    ("/fx/quotes", QUOTE, {"buy_currency": "AFN"}, 422, "currency_not_exchanged", "buy_currency"),
    ("/fx/quotes", QUOTE, {"sell_currency": "AFN"}, 422, "currency_not_exchanged", "sell_currency"),
    ("/fx/quotes", QUOTE, {"buy_currency": "KWD", "sell_currency": "USDC"}, 422, "amount_too_small", "sell_amount"),
    ("/fx/quotes", QUOTE, {"buy_currency": "JPY", "sell_amount": 10**15}, 422, "amount_too_large", "sell_amount"),
    ("/fx/quotes", QUOTE, {"rate": "2"}, 422, "unknown_field", "rate"),
    ("/payouts", PAYOUT, {}, 404, "account_not_found", "source"),
    ("/payouts", PAYOUT, {"destination": {**IBAN, "iban": "DE00"}}, 422, "iban_invalid", "destination.iban"),
    ("/payouts", PAYOUT, {"destination": {**IBAN, "type": "cash"}}, 422, "destination_invalid", "destination"),
    ("/payouts", PAYOUT, {"destination": {"type": "iban"}}, 422, "iban_required", "destination.iban"),
    ("/payouts", PAYOUT, {"destination": "DE89"}, 422, "destination_invalid", "destination"),
    ("/payouts", PAYOUT, {"currency": "USDC"}, 422, "currency_mismatch", "currency"),
    ("/payouts", PAYOUT, {"rail": "alpha"}, 422, "unknown_rail", "rail"),
    ("/refunds", {"charge": "ch_nobody"}, {}, 404, "charge_not_found", ""),
    ("/refunds", {"charge": "ch_nobody"}, {"charge": "re_1"}, 422, "charge_invalid", "charge"),
    ("/refunds", {"charge": "ch_nobody"}, {"amount": 0}, 422, "amount_must_be_positive", "amount"),
    ("/charges/ch_nobody/capture", {}, {}, 404, "charge_not_found", ""),
    ("/charges/ch_nobody/capture", {}, {"amount": 1.5}, 422, "amount_must_be_integer", "amount"),
    ("/charges/ch_nobody/capture", {}, {"final": "no"}, 422, "final_must_be_boolean", "final"),
    ("/charges/ch_nobody/void", {}, {"amount": 1}, 422, "unknown_field", "amount"),
    ("/charges/ch_nobody/authenticate", {}, {"result": "maybe"}, 422, "result_invalid", "result"),
    ("/accounts", {"currency": "EUR"}, {"id": "acct_ÄÖ"}, 422, "id_invalid", "id"),
    ("/accounts", {"currency": "EUR"}, {"min_balance": 1.5}, 422, "min_balance_must_be_integer", "min_balance"),
    ("/accounts", {"currency": "EUR"}, {"kind": "system"}, 422, "kind_invalid", "kind"),
    ("/accounts/acct_nobody/fund", {"amount": 1}, {}, 404, "account_not_found", ""),
    ("/risk/score", CHARGE, {"amount": -1}, 422, "amount_must_be_positive", "amount"),
    ("/routing/quote", CHARGE, {"amount": 1.0}, 422, "amount_must_be_integer", "amount"),
]
BODIES: list[tuple[bytes, int, str]] = [
    (b"", 422, "amount_required"),
    (b"{", 400, "malformed_json"),
    (b'{"amount": 8420,}', 400, "malformed_json"),
    (b'{"amount": NaN}', 400, "malformed_json"),
    (b'{"amount": 1e999, "currency": "EUR", "source": "tok_visa_4291"}', 422, "amount_must_be_integer"),
    (b'{"amount": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
    (b'{"amount": 1, "amount": 2}', 400, "duplicate_field"),
    (b"null", 422, "body_must_be_object"),
    (b"[]", 422, "body_must_be_object"),
    (b"8420", 422, "body_must_be_object"),
    (b"\xff\xfe\x00", 400, "malformed_json"),
    (b"[" * 100_000, 400, "malformed_json"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, 400, "malformed_json"),
    (b'{"description": "' + b"[" * 500 + b'"}', 422, "amount_required"),
    (b'{"a\\": "' + b'\\"[' * 5000, 400, "malformed_json"),
    (b'{"description": "\\ud800"}', 422, "invalid_characters"),
]


@pytest.fixture(autouse=True)
async def nothing_happens(world: World) -> AsyncIterator[None]:
    """No bad input may start a workflow."""
    yield
    assert world.temporal.starts == []


@pytest.mark.parametrize(("path", "body", "change", "status", "code", "param"), FIELDS)
async def test_field(shop: Shop, path: str, body: Any, change: Any, status: int, code: str, param: str) -> None:
    answer = await shop.post(path, {**body, **change})
    problem = assert_problem(answer, status, code, param or None)
    assert CARD not in answer.text and "4242 4242" not in answer.text
    assert ("param" in problem) == bool(param)


@pytest.mark.parametrize("missing", ["amount", "currency", "source"])
async def test_required_field(shop: Shop, missing: str) -> None:
    body = {name: value for name, value in CHARGE.items() if name != missing}
    assert_problem(await shop.post("/charges", body), 422, f"{missing}_required", missing)


async def test_all_wrong_fields_are_listed_and_the_first_leads(shop: Shop) -> None:
    problem = assert_problem(await shop.post("/charges", {"amount": 0, "currency": "x", "y": 1}), 422)
    assert [(one["param"], one["code"]) for one in problem["errors"]] == [
        ("amount", "amount_must_be_positive"),
        ("currency", "unknown_currency"),
        ("source", "source_required"),
        ("y", "unknown_field"),
    ]


@pytest.mark.parametrize(("body", "status", "code"), BODIES)
async def test_body(shop: Shop, body: bytes, status: int, code: str) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    assert_problem(await shop.send("POST", "/charges", content=body, headers=headers), status, code)


async def test_a_high_recursion_limit_does_not_let_nesting_end_the_process(shop: Shop) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        answer = await shop.send("POST", "/charges", content=b"[" * 900_000, headers=headers)
    finally:
        sys.setrecursionlimit(limit)
    assert_problem(answer, 400, "malformed_json")


async def test_other_content_types(shop: Shop) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", ""):
        headers = {"Idempotency-Key": "k", "Content-Type": content_type}
        answer = await shop.send("POST", "/charges", content=json.dumps(CHARGE), headers=headers)
        assert_problem(answer, 415, "content_type_unsupported")


async def test_body_of_10_mb_declared_or_chunked(shop: Shop) -> None:
    large = json.dumps({**CHARGE, "description": "x" * 10_000_000}).encode()
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for start in range(0, len(large), 65_536):
            sent += 1
            yield large[start : start + 65_536]

    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    for content in (large, chunks()):
        answer = await shop.send("POST", "/charges", content=content, headers=headers)
        assert_problem(answer, 413, "body_too_large")
    assert sent > 100


async def test_idempotency_keys_missing_misshapen_and_contradicting(shop: Shop) -> None:
    for path in ("/charges", "/transfers", "/payouts", "/refunds", "/accounts", "/charges/ch_1/capture"):
        answer = await shop.send("POST", path, json={})
        assert_problem(answer, 400, "idempotency_key_required", "idempotency_key")
    for key in (
        "x" * 256,
        "tab\there",
        "k\xe4se",
        "dispute:alpha:1",
        "notice:a:b:c",
        "orphan:alpha:1",
        "payout_of:ch_1",
        "payout_wait:ch_1",
        "line:acquirer_csv:card_gamma:g-1",
        "settlement:card_gamma:g-1:ch_1",
    ):
        answer = await shop.send("POST", "/charges", json=CHARGE, headers={"Idempotency-Key": key.encode("latin-1")})
        assert_problem(answer, 400, "idempotency_key_invalid", "idempotency_key")
    for written in (1, "", ["a"], "ключ"):
        answer = await shop.send("POST", "/charges", json={**CHARGE, "idempotency_key": written})
        assert_problem(answer, 400, "idempotency_key_invalid", "idempotency_key")
    answer = await shop.post("/charges", {**CHARGE, "idempotency_key": "a"}, key="b")
    assert_problem(answer, 400, "idempotency_key_mismatch", "idempotency_key")


async def test_queries(shop: Shop) -> None:
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_q"})
    assert_problem(await shop.send("GET", "/charges?limit=many"), 422, "limit_invalid", "limit")
    assert_problem(await shop.send("GET", "/charges?limit=101"), 422, "limit_invalid", "limit")
    assert_problem(await shop.send("GET", "/charges?starting_after=%27"), 422, "starting_after_invalid")
    assert_problem(await shop.send("GET", "/events?after=-1"), 422, "after_invalid", "after")
    assert_problem(await shop.send("GET", "/accounts/acct_q/balance?at=now"), 422, "timestamp_invalid", "at")
    assert_problem(await shop.send("GET", "/accounts/acct_q/balance?axis=x"), 422, "axis_invalid", "axis")
    for query in ("charges?status=%00", "refunds?charge=%00", "accounts?starting_after=%00", "events?type=%00"):
        assert_problem(await shop.send("GET", f"/{query}"), 422)
    for path in ("/charges/ch_nobody", "/charges/%00", "/refunds/'", "/accounts/x", "/events/evt_no", "/disputes/1"):
        assert_problem(await shop.send("GET", path), 404)
