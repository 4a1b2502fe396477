"""Money: exponents as ISO 4217 has them, amounts at their limits, rounding that never uses a float."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from domain.currencies import EXPONENTS
from domain.money import (
    AMOUNT_MINOR_MAX,
    allocate,
    check_amount,
    exponent,
    format_amount,
    is_currency,
    proportion_half_up,
)
from domain.pricing import DEFAULT_PRICES, Price, fee_minor, price_of


def test_rule_22_exponents_are_those_of_iso_4217_and_usdc() -> None:
    published = {one.code: one.exponent for one in Currency if one.exponent is not None}
    assert {code: places for code, places in EXPONENTS.items() if code != "USDC"} == published
    assert (exponent("EUR"), exponent("JPY"), exponent("KWD"), exponent("USDC")) == (2, 0, 3, 6)


@pytest.mark.parametrize("code", ["eur", "EURO", "", "BTC", "ZZZ"])
def test_what_is_no_currency(code: str) -> None:
    assert not is_currency(code)


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MINOR_MAX + 1, 1.0, True, "1"])
def test_rule_22_amounts_that_never_enter_the_ledger(amount: object) -> None:
    with pytest.raises(AssertionError):
        check_amount(amount)  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [1, AMOUNT_MINOR_MAX])
def test_amounts_at_the_limits(amount: int) -> None:
    check_amount(amount)


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (8420, "EUR", "84.20 EUR"),
        (-5, "JPY", "-5 JPY"),
        (1, "KWD", "0.001 KWD"),
        (-8420, "EUR", "-84.20 EUR"),
        (1_000_000, "USDC", "1.000000 USDC"),
    ],
)
def test_how_a_person_reads_an_amount(amount: int, currency: str, shown: str) -> None:
    assert format_amount(amount, currency) == shown


@given(st.integers(0, AMOUNT_MINOR_MAX), st.integers(0, 10_000))
def test_proportions_round_halves_up_exactly(amount: int, basis_points: int) -> None:
    exact = Fraction(amount * basis_points, 10_000)
    assert abs(proportion_half_up(amount, basis_points, 10_000) - exact) <= Fraction(1, 2)
    assert proportion_half_up(amount, basis_points, 10_000) == int(exact + Fraction(1, 2))


def test_the_list_price_of_84_20_eur_is_158() -> None:
    assert fee_minor(8420, price_of(DEFAULT_PRICES, "EUR")) == 158


@given(st.integers(1, AMOUNT_MINOR_MAX), st.integers(0, 10_000), st.integers(0, 10**6))
def test_a_fee_never_exceeds_its_charge(amount: int, basis_points: int, fixed: int) -> None:
    assert 0 <= fee_minor(amount, Price(basis_points=basis_points, fixed_minor=fixed)) <= amount


def test_every_currency_has_a_price() -> None:
    assert all(price_of(DEFAULT_PRICES, currency) for currency in EXPONENTS)


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        (100, (1, 1, 1), (34, 33, 33)),
        (10, (1, 2, 4), (1, 3, 6)),
        (5, (0, 1), (0, 5)),
        (0, (3, 4), (0, 0)),
        (1, (1, 1), (1, 0)),
        (2, (1, 0, 1, 1), (1, 0, 1, 0)),
    ],
)
def test_how_an_amount_is_split(amount: int, weights: tuple[int, ...], parts: tuple[int, ...]) -> None:
    assert allocate(amount, weights) == parts


@pytest.mark.parametrize(
    ("amount", "weights"), [(-1, (1,)), (1.0, (1,)), (1, ()), (1, (0, 0)), (1, (2, -1)), (1, (0.5, 0.5))]
)
def test_what_cannot_be_split(amount: object, weights: tuple[object, ...]) -> None:
    with pytest.raises(AssertionError):
        allocate(amount, weights)  # type: ignore[arg-type]


WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any)


@given(st.integers(0, AMOUNT_MINOR_MAX), WEIGHTS)
def test_rule_22_parts_add_up_and_no_part_is_a_unit_away_from_its_share(amount: int, weights: list[int]) -> None:
    parts = allocate(amount, weights)
    assert sum(parts) == amount and parts == allocate(amount, weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(amount * weight, sum(weights))) < 1
        assert weight or not part


@given(st.integers(0, AMOUNT_MINOR_MAX), WEIGHTS)
def test_units_left_over_go_to_the_largest_remainders_the_earlier_first(amount: int, weights: list[int]) -> None:
    total = sum(weights)
    ranked = [(-(amount * weight % total), place) for place, weight in enumerate(weights)]
    got = [part > amount * weight // total for part, weight in zip(allocate(amount, weights), weights, strict=True)]
    assert max((ranked[i] for i, more in enumerate(got) if more), default=(-total, 0)) < min(
        (ranked[i] for i, more in enumerate(got) if not more), default=(1, 0)
    )
