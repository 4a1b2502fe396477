"""The schemes' limits on trying a declined card again, and how long authorizations last: tables with a source."""

import pytest

from rails.authorization_windows import authorization_seconds
from rails.outcomes import classify_decline, retry_after_seconds
from rails.scheme_limits import DECLINES_COUNTED_MAX, LONGEST_WINDOW_SECONDS, tries_left

DAY = 86_400.0


@pytest.mark.parametrize(
    ("brand", "ages_days", "left"),
    [
        ("visa", [], 20),
        ("visa", [0.1] * 19, 1),
        ("visa", [0.1] * 19 + [29.9], 0),
        ("visa", [0.1] * 19 + [30.1], 1),
        ("mastercard", [0.1] * 9, 1),
        ("mastercard", [0.1] * 10, 0),
        ("mastercard", [1.1] * 34, 1),
        ("mastercard", [1.1] * 35, 0),
        ("mastercard", [0.5] * 5 + [2.0] * 30, 0),
        ("amex", [0.1] * 100, None),
        (None, [0.1] * 100, None),
    ],
)
def test_rule_11_retries_are_limited_by_scheme(brand: str | None, ages_days: list[float], left: int | None) -> None:
    assert tries_left(brand, [age * DAY for age in ages_days]) == left


def test_rule_11_what_is_read_of_a_card_is_what_limits_need() -> None:
    assert (DECLINES_COUNTED_MAX, LONGEST_WINDOW_SECONDS) == (35, 30 * DAY)


def test_rule_11_an_unmapped_code_is_never_retried_and_try_later_says_when() -> None:
    assert classify_decline("card_alpha", "a_code_nobody_mapped") == "hard"
    assert classify_decline("card_alpha", "try_again_later") == "try_later"
    assert retry_after_seconds("card_alpha", "try_again_later") == DAY
    assert retry_after_seconds("card_alpha", "another") == DAY


def test_rule_14_the_shorter_of_rail_and_scheme_counts() -> None:
    assert authorization_seconds("card_alpha", "visa") == 7 * DAY
    assert authorization_seconds("card_gamma", "visa") == 5 * DAY
    assert authorization_seconds("card_gamma", None) == 5 * DAY
    assert authorization_seconds("a_new_rail", "a_new_scheme") == 7 * DAY
