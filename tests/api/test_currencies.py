"""Currencies of 0, 3 and 6 decimal places through every kind of operation."""

from typing import Any

import pytest

from domain.money import AMOUNT_MINOR_MAX
from tests.api.conftest import Shop
from tests.api.problems import assert_problem
from tests.api.test_life_of_money import await_status, balance

IBAN = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada Lovelace"}
CHAIN = {"type": "usdc", "address": "0x" + "ab" * 20, "chain": "base"}

# The fee table's price of an amount: proportion rounded half up, plus the fixed part, never above the amount.
FEES = [
    ("JPY", 8420, 185 + 60),  # 2.20 % of 8420 is 185.24
    ("JPY", 1, 1),  # never above the amount
    ("KWD", 8420, 185 + 120),
    ("KWD", 25, 25),
    ("EUR", 8420, 158),
    ("GBP", 10_001, 150 + 35),  # 1.50 % of 10001 is 150.015
    ("CHF", 8420, 202),  # priced by the row for all others: 2.40 %
]


@pytest.mark.parametrize(("currency", "amount", "fee"), FEES)
async def test_charges_and_their_fees(real_shop: Shop, currency: str, amount: int, fee: int) -> None:
    order = {"amount": amount, "currency": currency, "source": "tok_visa_4291"}
    answer = await real_shop.post("/charges", order)
    assert answer.status_code == 201, answer.text
    charge = answer.json()
    assert (charge["currency"], charge["amount"], charge["fee"]) == (currency, amount, fee)
    assert charge["net"] == amount - fee
    assert (await balance(real_shop, charge["account"]))["posted"] == amount - fee


async def test_no_card_rail_takes_usdc(real_shop: Shop) -> None:
    order = {"amount": 1_000_000, "currency": "USDC", "source": "tok_visa_4291"}
    answer = await real_shop.post("/charges", order)
    assert_problem(answer, 503, "no_rail_available")


@pytest.mark.parametrize(
    ("currency", "destination"), [("JPY", IBAN), ("KWD", IBAN), ("USDC", CHAIN)], ids=lambda one: str(one)[:4]
)
async def test_fund_transfer_pay_out(real_shop: Shop, currency: str, destination: Any) -> None:
    """To the last minor unit, which is a whole yen, a fils, or a millionth of a dollar coin."""
    for account in ("acct_from", "acct_to"):
        assert (await real_shop.post("/accounts", {"currency": currency, "id": account})).status_code == 201
    await real_shop.post("/accounts/acct_from/fund", {"amount": 1_000_001})
    move = {"amount": 1_000_001, "currency": currency, "source": "acct_from", "destination": "acct_to"}
    transfer = (await real_shop.post("/transfers", move)).json()
    assert [(one["amount"], one["currency"]) for one in transfer["entries"]] == [(1_000_001, currency)] * 2
    too_much = {"amount": 1, "currency": currency, "source": "acct_from", "destination": "acct_to"}
    assert_problem(await real_shop.post("/transfers", too_much), 422, "exceeds_available_balance")
    order = {"amount": 1_000_001, "currency": currency, "source": "acct_to", "destination": destination}
    answer = await real_shop.post("/payouts", order)
    assert answer.status_code in (201, 202), answer.text
    paid = await await_status(real_shop, f"/payouts/{answer.json()['id']}", "paid")
    assert (paid["amount"], paid["currency"]) == (1_000_001, currency)
    assert (await balance(real_shop, "acct_to"))["posted"] == 0
    totals = (await real_shop.get("/ledger/trial_balance"))["currencies"]
    assert [(one["currency"], one["delta"]) for one in totals] == [(currency, 0)]


async def test_balances_above_two_to_the_53rd_are_exact(real_shop: Shop) -> None:
    await real_shop.post("/accounts", {"currency": "USDC", "id": "acct_deep"})
    for _ in range(10):
        await real_shop.post("/accounts/acct_deep/fund", {"amount": AMOUNT_MINOR_MAX})
    await real_shop.post("/accounts/acct_deep/fund", {"amount": 1})
    assert 2**53 < (await balance(real_shop, "acct_deep"))["posted"] == 10 * AMOUNT_MINOR_MAX + 1
