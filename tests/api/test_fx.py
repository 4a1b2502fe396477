"""Exchanges over HTTP on everything real: quoted, used once, expired, mismatched; every currency sums to zero."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.fx_rates import RateFile
from domain.fx import FxQuote, QuoteStatus, quote_document, quote_from_document
from domain.identifiers import Mode, new_identifier
from domain.ledger import AuditDraft, Posting, Record, RecordKind
from tests.api.conftest import Shop, World, client_of
from tests.api.problems import assert_problem

PAIR = {"sell_currency": "EUR", "buy_currency": "USD", "sell_amount": 10_000}
ACCOUNTS = {"acct_eur": "EUR", "acct_usd": "USD", "acct_jpy": "JPY", "acct_kwd": "KWD", "acct_usdc": "USDC"}


async def opened(shop: Shop, funds: int = 1_000_000) -> Shop:
    for account, currency in ACCOUNTS.items():
        assert (await shop.post("/accounts", {"currency": currency, "id": account})).status_code == 201
    assert (await shop.post("/accounts/acct_eur/fund", {"amount": funds})).status_code == 201
    return shop


async def quoted(shop: Shop, **changes: Any) -> Any:
    answer = await shop.post("/fx/quotes", {**PAIR, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


def exchange(quote: Any, **changes: Any) -> dict[str, Any]:
    move = {
        "amount": quote["sell_amount"],
        "currency": quote["sell_currency"],
        "source": f"acct_{quote['sell_currency'].lower()}",
        "destination": f"acct_{quote['buy_currency'].lower()}",
        "fx_quote": quote["id"],
    }
    return {**move, **changes}


async def balances(shop: Shop) -> dict[str, int]:
    return {account: (await shop.get(f"/accounts/{account}/balance"))["posted"] for account in ACCOUNTS}


async def assert_books_sound(shop: Shop) -> None:
    report = await shop.get("/ledger/invariants")
    assert report["ok"] and all(one["delta"] == 0 for one in report["currencies"]), report
    totals = (await shop.get("/ledger/trial_balance"))["currencies"]
    assert all(one["delta"] == 0 for one in totals), totals


@pytest.fixture
async def till(real_shop: Shop) -> AsyncIterator[Shop]:
    """A merchant with an account in each currency; afterwards the whole book is sound."""
    yield await opened(real_shop)
    await assert_books_sound(real_shop)


async def test_an_exchange_is_four_entries_in_two_currencies(till: Shop) -> None:
    quote = await quoted(till)
    assert (quote["object"], quote["status"], quote["fixed_side"]) == ("fx_quote", "open", "sell")
    assert (quote["rate"], quote["mid_rate"], quote["spread_basis_points"]) == ("1.08129", "1.0840", 25)
    assert (quote["sell_amount"], quote["buy_amount"], quote["transfer"]) == (10_000, 10_812, None)
    assert "sandbox" in quote["rate_source"].lower()
    lasts = datetime.fromisoformat(quote["expires_at"]) - datetime.fromisoformat(quote["created_at"])
    assert lasts == timedelta(seconds=60)
    answer = await till.post("/transfers", exchange(quote), key="swap")
    assert answer.status_code == 201, answer.text
    transfer = answer.json()
    assert (transfer["status"], transfer["fx_quote"]) == ("settled", quote["id"])
    assert transfer["exchange"] == {
        "rate": "1.08129",
        "sell_currency": "EUR",
        "sell_amount": 10_000,
        "buy_currency": "USD",
        "buy_amount": 10_812,
    }
    shown = [(one["account"], one["direction"], one["amount"], one["currency"]) for one in transfer["entries"]]
    assert shown == [
        ("acct_eur", "debit", 10_000, "EUR"),
        ("fx_conversion:EUR:test", "credit", 10_000, "EUR"),
        ("fx_conversion:USD:test", "debit", 10_812, "USD"),
        ("acct_usd", "credit", 10_812, "USD"),
    ]
    assert [one["balance"] for one in transfer["entries"]][::3] == [990_000, 10_812]
    used = await till.get(f"/fx/quotes/{quote['id']}")
    assert (used["status"], used["transfer"]) == ("used", transfer["id"])
    again = await till.post("/transfers", exchange(quote), key="swap")
    assert again.json() == transfer and again.headers["idempotent-replayed"] == "true"
    assert (await till.get(f"/transfers/{transfer['id']}")) == transfer
    entries = (await till.get("/accounts/acct_usd/entries"))["data"]
    assert [(one["kind"], one["reference"], one["currency"]) for one in entries] == [("fx_buy", transfer["id"], "USD")]
    types = [event["type"] for event in (await till.get("/events", limit=100))["data"]]
    assert types[-3:] == ["fx_quote.created", "transfer.settled", "fx_quote.used"]


async def test_a_quote_is_used_once_whoever_races_for_it(till: Shop) -> None:
    quote = await quoted(till)
    answers = await asyncio.gather(*(till.post("/transfers", exchange(quote)) for _ in range(12)))
    won = [answer.json() for answer in answers if answer.status_code == 201]
    assert len(won) == 1 and (await till.get(f"/fx/quotes/{quote['id']}"))["transfer"] == won[0]["id"]
    for answer in answers:
        if answer.status_code != 201:
            problem = assert_problem(answer, 422, "fx_quote_used")
            assert problem["transfer"]["status"] == "failed" and problem["transfer"]["entries"] == []
    assert (await balances(till))["acct_usd"] == 10_812
    late = await till.post("/transfers", exchange(quote), key="late")
    assert_problem(late, 422, "fx_quote_used")
    assert_problem(await till.post("/transfers", exchange(quote), key="late"), 422, "fx_quote_used")


async def test_one_key_many_times_exchanges_once(till: Shop) -> None:
    quote = await quoted(till)
    answers = await asyncio.gather(*(till.post("/transfers", exchange(quote), key="same") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await balances(till))["acct_eur"] == 990_000


async def test_a_quote_past_its_time(till: Shop, real_world: World) -> None:
    document = await quoted(till)
    fresh = quote_from_document(document, merchant_id=till.merchant_id, version=1)
    then = datetime.now(UTC) - timedelta(minutes=5)
    old = replace(fresh, id=new_identifier("fxq"), created_at=then, expires_at=then + timedelta(seconds=60))
    await stored(real_world, old)
    shown = await till.get(f"/fx/quotes/{old.id}")
    assert (shown["status"], shown["transfer"]) == ("expired", None)
    before = await balances(till)
    for _ in range(2):
        answer = await till.post("/transfers", exchange(shown), key="too late")
        problem = assert_problem(answer, 422, "fx_quote_expired")
        assert problem["transfer"]["fx_quote"] == old.id
    assert answer.headers["idempotent-replayed"] == "true"
    assert await balances(till) == before
    # The database takes no quote as used after its time, so the used one is put in with time left.
    used = replace(fresh, id=new_identifier("fxq"), status=QuoteStatus.USED, version=2, transfer="tr_x")
    await stored(real_world, used)
    assert (await till.get(f"/fx/quotes/{used.id}"))["status"] == "used"
    assert_problem(await till.post("/transfers", exchange(quote_document(used))), 422, "fx_quote_used")


async def stored(world: World, quote: FxQuote) -> None:
    record = Record(kind=RecordKind.FX_QUOTE, id=quote.id, version=quote.version, document=quote_document(quote))
    posting = Posting(
        key=f"{quote.id}:{quote.version}",
        merchant_id=quote.merchant_id,
        mode=quote.mode,
        audit=AuditDraft(actor="test", action="fx_quote.created", object_id=quote.id),
        records=(record,),
    )
    assert (await world.services.book.post(posting)).refusal is None


async def test_a_transfer_must_be_what_its_quote_says(till: Shop) -> None:
    quote, before = await quoted(till), await balances(till)
    for change, param in (
        ({"amount": 9_999}, "amount"),
        ({"amount": quote["buy_amount"]}, "amount"),
        ({"currency": "USD"}, "currency"),
        ({"source": "acct_kwd"}, "source"),
        ({"source": "acct_usd", "destination": "acct_eur"}, "source"),
        ({"destination": "acct_jpy"}, "destination"),
    ):
        assert_problem(await till.post("/transfers", exchange(quote, **change)), 422, "fx_quote_mismatch", param)
    missing = await till.post("/transfers", exchange(quote, destination="acct_nobody"))
    assert_problem(missing, 404, "account_not_found", "destination")
    reused = await till.post("/transfers", exchange(quote), key="k")
    assert reused.status_code == 201
    other = await till.post("/transfers", exchange(quote, amount=1), key="k")
    assert_problem(other, 422, "idempotency_key_reused", "amount")
    assert (await balances(till))["acct_eur"] == before["acct_eur"] - 10_000


async def test_without_funds_the_quote_stays_open(till: Shop) -> None:
    quote = await quoted(till, sell_amount=1_000_001)
    problem = assert_problem(await till.post("/transfers", exchange(quote)), 422, "exceeds_available_balance")
    assert problem["transfer"]["entries"] == []
    assert (await till.get(f"/fx/quotes/{quote['id']}"))["status"] == "open"
    await till.post("/accounts/acct_eur/fund", {"amount": 1})
    assert (await till.post("/transfers", exchange(quote))).status_code == 201


async def test_exponents_of_every_kind_in_a_circle(till: Shop) -> None:
    """EUR 2, JPY 0, KWD 3, USDC 6 and back: each step sells all the last one bought, and the end is less."""
    amount = 1_000_000
    for sell, buy in (("EUR", "JPY"), ("JPY", "KWD"), ("KWD", "USDC"), ("USDC", "EUR")):
        quote = await quoted(till, sell_currency=sell, buy_currency=buy, sell_amount=amount)
        assert (await till.post("/transfers", exchange(quote))).status_code == 201
        amount = quote["buy_amount"]
    # Four spreads of 0.25 % off 10000.00 EUR, and a few minor units of rounding.
    assert 989_000 < amount < 990_100
    after = await balances(till)
    assert (after["acct_eur"], after["acct_jpy"], after["acct_kwd"], after["acct_usdc"]) == (amount, 0, 0, 0)


async def test_naming_what_is_bought(till: Shop) -> None:
    quote = await quoted(till, sell_amount=None, buy_currency="KWD", buy_amount=1000)
    assert (quote["fixed_side"], quote["buy_amount"]) == ("buy", 1000)
    # 1.000 KWD at 0.33202785 KWD per EUR are 3.0118 EUR, rounded up.
    assert (quote["rate"], quote["sell_amount"]) == ("0.33202785", 302)
    assert (await till.post("/transfers", exchange(quote))).json()["entries"][3]["amount"] == 1000


async def test_a_quote_is_the_merchants_own(till: Shop, real_world: World) -> None:
    quote, other = await quoted(till), await opened(await real_world.shop("Other"))
    assert_problem(await other.send("GET", f"/fx/quotes/{quote['id']}"), 404, "fx_quote_not_found")
    assert_problem(await other.post("/transfers", exchange(quote)), 404, "fx_quote_not_found", "fx_quote")
    assert_problem(await till.send("GET", "/fx/quotes/fxq_nobody"), 404, "fx_quote_not_found")


async def test_a_quote_asked_for_again_is_the_same(shop: Shop) -> None:
    first = await shop.post("/fx/quotes", PAIR, key="q")
    answers = [await shop.post("/fx/quotes", PAIR, key="q"), *await asyncio.gather(*many(shop, "q2"))]
    assert answers[0].json() == first.json() and answers[0].headers["idempotent-replayed"] == "true"
    assert len({answer.json()["id"] for answer in answers[1:]}) == 1
    other = await shop.post("/fx/quotes", {**PAIR, "sell_amount": 1}, key="q")
    assert_problem(other, 422, "idempotency_key_reused", "sell_amount")
    keyless = await shop.send("POST", "/fx/quotes", json=PAIR)
    assert_problem(keyless, 400, "idempotency_key_required", "idempotency_key")


def many(shop: Shop, key: str) -> list[Any]:
    return [shop.post("/fx/quotes", PAIR, key=key) for _ in range(10)]


async def test_no_rates_no_quotes_and_sandbox_rates_price_no_live_money(world: World, tmp_path: Path) -> None:
    live = await world.shop("Live", Mode.LIVE)
    problem = assert_problem(await live.post("/fx/quotes", PAIR), 503, "fx_rates_unavailable")
    assert "quote" in problem["detail"]
    shop = await world.shop()
    kept = await shop.post("/fx/quotes", PAIR, key="kept")
    without = replace(world.services, fx_rates=RateFile(tmp_path / "nothing.json"))
    async with client_of(without) as http:
        away = Shop(http, shop.key, shop.merchant_id)
        answer = await away.post("/fx/quotes", PAIR)
        assert_problem(answer, 503, "fx_rates_unavailable")
        assert answer.headers["retry-after"]
        assert (await away.post("/fx/quotes", PAIR, key="kept")).json() == kept.json()
