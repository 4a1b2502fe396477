"""Rates and conversion: exact, rounded in one direction, never a gain there and back; the file rates come from."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fx_rates import SANDBOX_RATES, RateFile, parse_rates
from domain.currencies import EXPONENTS
from domain.fx import (
    FxQuote,
    QuoteStatus,
    RatesUnavailableError,
    bought_minor,
    client_rate,
    parse_rate,
    quote_document,
    quote_from_document,
    refuse_quote,
    round_rate,
    sold_minor,
    write_rate,
)
from domain.identifiers import Mode
from domain.ledger import RefusalCode
from domain.money import AMOUNT_MINOR_MAX

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
QUOTE = FxQuote(
    id="fxq_1",
    merchant_id="mer_1",
    mode=Mode.TEST,
    sell_currency="EUR",
    sell_amount_minor=10_000,
    buy_currency="USD",
    buy_amount_minor=10_840,
    fixed_side="sell",
    rate="1.0840",
    mid_rate="1.0840",
    spread_basis_points=0,
    rate_source="here",
    rate_as_of=NOW,
    created_at=NOW,
    expires_at=NOW + timedelta(seconds=60),
)
RATES = st.fractions(min_value=Fraction(1, 10**9), max_value=10**9).filter(bool)
CURRENCIES = st.sampled_from(["JPY", "EUR", "KWD", "USDC"])
AMOUNTS = st.integers(1, AMOUNT_MINOR_MAX)


@pytest.mark.parametrize(
    ("sell", "sold", "rate", "buy", "bought"),
    [
        ("EUR", 10_000, "1.084", "USD", 10_840),
        ("EUR", 100, "163.27", "JPY", 163),
        ("JPY", 1000, "0.0018795", "KWD", 1879),
        ("KWD", 1, "491.02", "JPY", 0),
        ("USDC", 1_000_000, "0.9225", "EUR", 92),
        ("EUR", 1, "1.084", "USDC", 10_840),
    ],
)
def test_what_a_sold_amount_buys(sell: str, sold: int, rate: str, buy: str, bought: int) -> None:
    assert bought_minor(sold, parse_rate(rate), sell_currency=sell, buy_currency=buy) == bought


def test_what_a_bought_amount_costs_is_rounded_up() -> None:
    assert sold_minor(1_000_000, parse_rate("1.083"), sell_currency="EUR", buy_currency="USDC") == 93
    assert sold_minor(10_840, parse_rate("1.084"), sell_currency="EUR", buy_currency="USD") == 10_000


@pytest.mark.parametrize("text", ["", "0", "0.000", "-1", "1e3", "1,5", ".5", "1.", "NaN", "1/2", " 1", "٣", 1.084, 1])
def test_what_is_no_rate(text: Any) -> None:
    with pytest.raises(ValueError, match="a rate is text"):
        parse_rate(text)


@pytest.mark.parametrize(("rate", "text"), [("1.0840", "1.0840"), ("2", "2.0000"), ("0.0018795", "0.0018795")])
def test_how_a_rate_is_written(rate: str, text: str) -> None:
    assert write_rate(parse_rate(rate)) == text


def test_a_clients_rate_is_the_mid_rate_less_the_spread() -> None:
    assert write_rate(client_rate(parse_rate("1.0840"), 25)) == "1.08129"
    assert write_rate(round_rate(Fraction(2, 3))) == "0.6666666666"
    assert write_rate(round_rate(Fraction(123456789012))) == "123456789000.0000"


@given(RATES)
def test_a_rounded_rate_is_written_and_read_without_loss(rate: Fraction) -> None:
    rounded = round_rate(rate)
    assert parse_rate(write_rate(rounded)) == rounded == round_rate(rounded)
    assert rate * (1 - Fraction(1, 10**9)) < rounded <= rate


@given(AMOUNTS, RATES, CURRENCIES, CURRENCIES)
def test_conversion_is_within_one_unit_of_exact(amount: int, rate: Fraction, sell: str, buy: str) -> None:
    minor_rate = rate * Fraction(10) ** (EXPONENTS[buy] - EXPONENTS[sell])
    bought = bought_minor(amount, rate, sell_currency=sell, buy_currency=buy)
    assert 0 <= amount * minor_rate - bought < 1
    sold = sold_minor(amount, rate, sell_currency=sell, buy_currency=buy)
    assert 0 <= sold - amount / minor_rate < 1
    # What a sold amount buys never costs more than that; what a bought amount costs always buys it.
    assert sold_minor(bought, rate, sell_currency=sell, buy_currency=buy) <= amount
    assert bought_minor(sold, rate, sell_currency=sell, buy_currency=buy) >= amount


@given(AMOUNTS, RATES, CURRENCIES, CURRENCIES, st.integers(0, 500))
def test_there_and_back_never_gains(amount: int, mid: Fraction, sell: str, buy: str, spread: int) -> None:
    there = bought_minor(amount, client_rate(mid, spread), sell_currency=sell, buy_currency=buy)
    back = bought_minor(there, client_rate(1 / mid, spread), sell_currency=buy, buy_currency=sell)
    assert back <= amount


@given(AMOUNTS, RATES, CURRENCIES, CURRENCIES)
def test_without_spread_there_and_back_loses_no_more_than_rounding(
    amount: int, mid: Fraction, sell: str, buy: str
) -> None:
    there = bought_minor(amount, client_rate(mid, 0), sell_currency=sell, buy_currency=buy)
    back = bought_minor(there, client_rate(1 / mid, 0), sell_currency=buy, buy_currency=sell)
    one_unit_there = Fraction(10) ** (EXPONENTS[sell] - EXPONENTS[buy]) / mid
    assert amount - back <= amount * Fraction(3, 10**9) + one_unit_there + 1


def test_a_quote_says_what_it_says_only_if_its_amounts_follow_from_its_rate() -> None:
    assert quote_from_document(quote_document(QUOTE), merchant_id="mer_1", version=1) == QUOTE
    for wrong in ({"buy_amount_minor": 10_841}, {"rate": "1.0841"}, {"buy_currency": "EUR"}, {"sell_amount_minor": 0}):
        with pytest.raises(AssertionError):
            replace(QUOTE, **wrong)


def test_a_quote_is_good_until_it_expires_and_once() -> None:
    last = QUOTE.expires_at - timedelta(microseconds=1)
    assert refuse_quote(QUOTE, last) is None
    expired = refuse_quote(QUOTE, QUOTE.expires_at)
    assert expired is not None and expired.code is RefusalCode.FX_QUOTE_EXPIRED
    for now in (last, QUOTE.expires_at):
        used = refuse_quote(replace(QUOTE, status=QuoteStatus.USED, version=2, transfer="tr_1"), now)
        assert used is not None and used.code is RefusalCode.FX_QUOTE_USED


def table(**changes: Any) -> dict[str, Any]:
    document = {
        "source": "test",
        "as_of": "2026-11-01T00:00:00Z",
        "sandbox": False,
        "base": "EUR",
        "rates": {"USD": "1.0840", "JPY": "163.27"},
    }
    return document | changes


def test_rates_of_a_pair_go_through_the_base_exactly() -> None:
    rates = parse_rates(json.dumps(table()))
    assert rates.mid("EUR", "USD") == Fraction(271, 250)
    assert rates.mid("USD", "JPY") == Fraction("163.27") / Fraction("1.084")
    assert rates.mid("EUR", "KWD") is None and rates.mid("KWD", "EUR") is None


def test_the_rates_shipped_are_labelled_and_whole() -> None:
    rates = RateFile().read()
    assert rates.sandbox and "sandbox" in rates.source.lower() and "sandbox" in SANDBOX_RATES.name
    assert {"USD", "JPY", "KWD", "USDC", "GBP"} <= set(rates.per_base) and rates.base == "EUR"


@pytest.mark.parametrize(
    "changes",
    [
        {"rates": {"USD": 1.084}},
        {"rates": {"USD": 2}},
        {"rates": {"USD": "0"}},
        {"rates": {"XXQ": "1"}},
        {"rates": {"EUR": "1"}},
        {"rates": ["USD"]},
        {"base": "eur"},
        {"as_of": "2026-11-01T00:00:00"},
        {"as_of": None},
        {"sandbox": "no"},
        {"sandbox": None},
        {"source": ""},
    ],
)
def test_a_file_that_is_not_what_it_should_be_prices_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(table(**changes)))
    with pytest.raises(RatesUnavailableError):
        RateFile(path).read()


def test_a_file_is_read_again_when_it_changes_and_not_trusted_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    source = RateFile(path, age_max=timedelta(hours=1))
    with pytest.raises(RatesUnavailableError):
        source.read()
    fresh = datetime.now(UTC).isoformat()
    path.write_text(json.dumps(table(as_of=fresh)))
    assert source.read().mid("EUR", "USD") == Fraction("1.084")
    assert source.read() is source.read()
    path.write_text(json.dumps(table(as_of=fresh, rates={"USD": "1.09"})))
    os.utime(path, ns=(1, 1))
    assert source.read().mid("EUR", "USD") == Fraction("1.09")
    path.write_text(json.dumps(table()))
    with pytest.raises(RatesUnavailableError):
        source.read()
    path.write_text("{")
    with pytest.raises(RatesUnavailableError):
        source.read()
