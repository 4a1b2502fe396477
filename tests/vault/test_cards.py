"""What makes a card acceptable, and that a refusal never quotes it."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.cards import CardDetails, CardInput, CardRefusedError, bin_country_of, brand_of, parse_card, passes_luhn

TODAY = date(2026, 3, 2)
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"}


def refused(**changes: Any) -> CardRefusedError:
    with pytest.raises(CardRefusedError) as caught:
        parse_card(CARD | changes, today=TODAY)
    return caught.value


def test_a_card_is_taken_without_its_cvc() -> None:
    card = parse_card(CARD, today=TODAY)
    assert card == CardInput(number="4242424242424242", exp_month=12, exp_year=2030)
    assert "cvc" not in CardInput.__slots__ and "cvc" not in CardDetails.__slots__


def test_spaces_and_dashes_between_digits_are_people() -> None:
    assert parse_card(CARD | {"number": "4242 4242-4242 4242"}, today=TODAY).number == CARD["number"]


@pytest.mark.parametrize(
    "number",
    [
        "4242424242424241",
        "42",
        "4" * 20,
        "",
        "42424242x4242424",
        "４２４２４２４２４２４２４２４２",
        "0x4242424242424242",
        "4242\n4242",
    ],
)
def test_a_wrong_number_is_refused(number: str) -> None:
    assert refused(number=number).code == "card_number_invalid"


@pytest.mark.parametrize("number", [4242424242424242, 4.2e15, None, True, ["4242424242424242"], {"n": 1}])
def test_a_number_that_is_not_text_is_refused(number: Any) -> None:
    assert refused(number=number).code == "card_number_must_be_text"


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"exp_month": 0}, "exp_month_invalid", "card.exp_month"),
        ({"exp_month": 13}, "exp_month_invalid", "card.exp_month"),
        ({"exp_month": "12"}, "exp_month_invalid", "card.exp_month"),
        ({"exp_month": 12.0}, "exp_month_invalid", "card.exp_month"),
        ({"exp_month": True}, "exp_month_invalid", "card.exp_month"),
        ({"exp_year": 30}, "exp_year_invalid", "card.exp_year"),
        ({"exp_year": 9999}, "exp_year_invalid", "card.exp_year"),
        ({"exp_year": None}, "exp_year_invalid", "card.exp_year"),
        ({"exp_year": 2026, "exp_month": 2}, "card_expired", "card.exp_year"),
        ({"exp_year": 2025}, "card_expired", "card.exp_year"),
        ({"cvc": "12"}, "cvc_invalid", "card.cvc"),
        ({"cvc": "1234"}, "cvc_invalid", "card.cvc"),
        ({"cvc": 123}, "cvc_invalid", "card.cvc"),
        ({"cvv": "123"}, "unknown_field", "card"),
    ],
)
def test_other_faults_name_the_field(changes: dict[str, Any], code: str, param: str) -> None:
    refusal = refused(**changes)
    assert (refusal.code, refusal.param) == (code, param)


@pytest.mark.parametrize("card", [None, [], "4242424242424242", 4242424242424242])
def test_a_card_that_is_no_object_is_refused(card: Any) -> None:
    with pytest.raises(CardRefusedError) as caught:
        parse_card(card, today=TODAY)
    assert caught.value.code == "card_required" and "4242" not in caught.value.detail


def test_a_card_is_good_to_the_end_of_its_month() -> None:
    assert parse_card(CARD | {"exp_month": 3, "exp_year": 2026}, today=date(2026, 3, 31)).exp_month == 3


def test_american_express_has_four_digits_of_cvc() -> None:
    amex = {"number": "378282246310005", "cvc": "1234"}
    assert parse_card(CARD | amex, today=TODAY).number == "378282246310005"
    assert refused(**(amex | {"cvc": "123"})).code == "cvc_invalid"


@pytest.mark.parametrize("field", ["number", "exp_month", "exp_year", "cvc", "4242424242424242"])
def test_rule_35_no_refusal_quotes_its_input(field: str) -> None:
    secret = "4111222233334444"
    refusal = refused(**{field: secret + "x"})
    shown = " ".join([str(refusal), repr(refusal), refusal.code, refusal.param, refusal.detail])
    assert secret not in shown and secret[:6] not in shown and "4242" not in shown


def test_rule_35_no_repr_shows_the_number() -> None:
    for kind in (CardInput, CardDetails):
        card = kind(number="4242424242424242", exp_month=1, exp_year=2030)
        assert "4242" not in repr(card) and "4242" not in f"{card!s}"


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4242424242424242", "visa"),
        ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("378282246310005", "amex"),
        ("6011111111111117", "discover"),
        ("3056930009020004", "diners"),
        ("3566002020360505", "jcb"),
        ("6200000000000005", "unionpay"),
        ("9999999999999995", "unknown"),
    ],
)
def test_brands(number: str, brand: str) -> None:
    assert passes_luhn(number) and brand_of(number) == brand


@pytest.mark.parametrize(
    ("number", "country"),
    [("4242424242424242", "US"), ("4000002760000016", "DE"), ("4000000000000002", "US"), ("5200000000000007", None)],
)
def test_country_of_the_longest_known_prefix(number: str, country: str | None) -> None:
    assert bin_country_of(number) == country


@given(st.text("0123456789", min_size=11, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_luhn_sees_any_single_wrong_digit(stem: str, place: int, shift: int) -> None:
    [number] = [stem + digit for digit in "0123456789" if passes_luhn(stem + digit)]
    place %= len(number)
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    assert not passes_luhn(wrong)
