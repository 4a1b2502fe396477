"""Learned approval odds: the worked example, how segments borrow from one another, how old news fades."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rails.approval_odds import ApprovalOdds, DecayedCounts, Segment, amount_band
from rails.landed_cost import cost_factor

DAY = 86_400.0
VISA_DE = Segment(brand="visa", country="DE", band="20 to 100")


def learned(rail: str, segment: Segment, approved: int, declined: int, at_seconds: float = 0.0) -> ApprovalOdds:
    odds = ApprovalOdds()
    for _ in range(approved):
        odds.record(rail, segment, approved=True, at_seconds=at_seconds)
    for _ in range(declined):
        odds.record(rail, segment, approved=False, at_seconds=at_seconds)
    return odds


def mean(odds: ApprovalOdds, segment: Segment = VISA_DE, *, rail: str = "a", at_seconds: float = 0.0) -> float:
    return odds.odds(rail, segment, prior=0.94, at_seconds=at_seconds).mean


def test_worked_example() -> None:
    assert mean(learned("a", Segment(), 90, 10), Segment()) == pytest.approx(0.932)


def test_what_was_never_tried_has_its_prior_and_is_least_sure() -> None:
    nothing = ApprovalOdds().odds("a", VISA_DE, prior=0.94, at_seconds=0)
    something = learned("a", VISA_DE, 900, 60).odds("a", VISA_DE, prior=0.94, at_seconds=0)
    assert nothing.mean == pytest.approx(0.94)
    assert something.deviation < nothing.deviation


def test_a_segment_borrows_from_the_wider_one_and_no_further() -> None:
    odds = learned("a", VISA_DE, 0, 400)
    here, same_card = mean(odds), mean(odds, Segment(brand="visa", country="DE", band="under 20"))
    elsewhere = mean(odds, Segment(brand="amex", country="US", band="under 20"))
    assert here < same_card < elsewhere < 0.94
    assert mean(odds, rail="b") == pytest.approx(0.94)


def test_an_order_declined_elsewhere_is_another_population() -> None:
    retry = Segment(brand="visa", country="DE", band="20 to 100", retry=True)
    odds = learned("a", retry, 0, 500)
    assert mean(odds) == pytest.approx(0.94)
    assert mean(odds, retry) < 0.1


def test_old_news_fades_by_half_a_day() -> None:
    odds = learned("a", Segment(), 0, 400)
    now, later = mean(odds, Segment()), mean(odds, Segment(), at_seconds=DAY)
    assert now == pytest.approx(0.94 * 400 / 800)
    assert later == pytest.approx(0.94 * 400 / 600)
    assert mean(odds, Segment(), at_seconds=40 * DAY) == pytest.approx(0.94, abs=1e-6)


outcomes = st.lists(st.tuples(st.booleans(), st.floats(0, 10 * DAY)), max_size=40)


@given(outcomes=outcomes, at_seconds=st.floats(0, 20 * DAY), prior=st.floats(0.01, 0.99))
def test_odds_are_odds_and_an_approval_never_lowers_them(outcomes: Any, at_seconds: float, prior: float) -> None:
    odds = ApprovalOdds()
    for approved, at in sorted(outcomes, key=lambda outcome: outcome[1]):
        odds.record("a", VISA_DE, approved=approved, at_seconds=at)
    before = odds.odds("a", VISA_DE, prior=prior, at_seconds=at_seconds)
    odds.record("a", VISA_DE, approved=True, at_seconds=at_seconds)
    after = odds.odds("a", VISA_DE, prior=prior, at_seconds=at_seconds)
    assert 0 < before.mean < 1 and after.mean >= before.mean - 1e-12
    assert after.strength >= before.strength


@given(outcomes=outcomes)
def test_counts_from_the_books_are_the_same_as_outcomes_one_by_one(outcomes: Any) -> None:
    at_seconds, approved = 11 * DAY, 0.0
    one_by_one, declined = ApprovalOdds(), 0.0
    for approved_now, at in sorted(outcomes, key=lambda outcome: outcome[1]):
        one_by_one.record("a", VISA_DE, approved=approved_now, at_seconds=at)
        weight = 0.5 ** ((at_seconds - at) / DAY)
        approved, declined = approved + weight * approved_now, declined + weight * (not approved_now)
    loaded = ApprovalOdds()
    counts = {"approved": approved, "declined_soft": declined, "at_seconds": at_seconds}
    loaded.load([DecayedCounts(rail="a", segment=VISA_DE, **counts)])
    assert mean(loaded, at_seconds=at_seconds) == pytest.approx(mean(one_by_one, at_seconds=at_seconds))


def test_amount_bands_are_in_main_units() -> None:
    assert [amount_band(8_420, currency) for currency in ("EUR", "JPY", "KWD")] == [
        "20 to 100",
        "500 and more",
        "under 20",
    ]
    assert (amount_band(1_999, "EUR"), amount_band(2_000, "EUR")) == ("under 20", "20 to 100")


def test_costs_are_believed_the_more_the_more_orders_tell() -> None:
    assert cost_factor(estimated_minor=17_000, actual_minor=18_700, orders=200) == pytest.approx(1.08)
    assert cost_factor(estimated_minor=85, actual_minor=170, orders=1) == pytest.approx(1 + 1 / 51)
    assert cost_factor(estimated_minor=85_000_000, actual_minor=0, orders=1_000_000) == 0.2
