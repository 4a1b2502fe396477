"""Prices by rail, currency and volume; fees recomputed from what was stored; fee returns that add up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pricing import (
    Price,
    PriceLine,
    PricingModel,
    PricingPlan,
    RefundFee,
    Tier,
    decided_pricing,
    fee_of_capture,
    fee_to_return_minor,
    pricing_plan_document,
    pricing_plan_of,
)


def line(rail: str, currency: str, *tiers: tuple[int, int, int]) -> PriceLine:
    """Tiers as (from, basis points, fixed)."""
    return PriceLine(
        rail=rail,
        currency=currency,
        tiers=tuple(
            Tier(from_minor=at, price=Price(basis_points=points, fixed_minor=fixed)) for at, points, fixed in tiers
        ),
    )


PLAN = PricingPlan(
    name="gold",
    lines=(
        line("*", "EUR", (0, 140, 40), (1_000_000, 120, 30), (5_000_000, 90, 20)),
        line("card_beta", "EUR", (0, 110, 25)),
        line("card_gamma", "*", (0, 200, 0)),
    ),
)


def fee(pricing: dict[str, object], rail: str, amount: int = 8420) -> int:
    return fee_of_capture(pricing, rail, amount_minor=amount, captured_before_minor=0, charge_minor=amount)


@pytest.mark.parametrize(
    ("volume", "rail", "currency", "points"),
    [
        (0, "card_alpha", "EUR", 140),
        (999_999, "card_alpha", "EUR", 140),
        (1_000_000, "card_alpha", "EUR", 120),
        (50_000_000, "card_alpha", "EUR", 90),
        (50_000_000, "card_beta", "EUR", 110),
        (0, "card_gamma", "EUR", 140),
        (0, "card_gamma", "SEK", 200),
        (0, "card_alpha", "USD", 190),
        (0, "card_alpha", "SEK", 240),
    ],
)
def test_the_rate_drops_as_the_months_volume_grows(volume: int, rail: str, currency: str, points: int) -> None:
    assert PLAN.tier(rail, currency, volume).price.basis_points == points


def test_the_list_price_of_the_page() -> None:
    pricing = decided_pricing(PricingPlan(), "EUR", 10**9, "2026-11", {"card_alpha": 86})
    assert fee(pricing, "card_alpha") == 158


def test_what_is_stored_recomputes_the_fee_of_every_capture() -> None:
    pricing = decided_pricing(PLAN, "EUR", 2_000_000, "2026-11", {"card_alpha": 86, "card_beta": 74})
    assert pricing["month_volume"] == 2_000_000
    assert [row["tier_from"] for row in pricing["prices"]] == [1_000_000, 0]
    assert fee(pricing, "card_alpha") == 101 + 30 and fee(pricing, "card_beta") == 93 + 25
    parts = [
        fee_of_capture(pricing, "card_alpha", amount_minor=3000, captured_before_minor=0, charge_minor=8420),
        fee_of_capture(pricing, "card_alpha", amount_minor=5420, captured_before_minor=3000, charge_minor=8420),
    ]
    assert parts == [36 + 30, 65]


@given(
    splits=st.lists(st.integers(1, 5_000), min_size=1, max_size=8),
    cost=st.integers(0, 500),
)
def test_cost_plus_passes_exactly_the_estimated_cost_on_in_any_split(splits: list[int], cost: int) -> None:
    plan = replace(PLAN, model=PricingModel.COST_PLUS, lines=(line("*", "*", (0, 0, 0)),))
    pricing = decided_pricing(plan, "EUR", 0, "2026-11", {"card_alpha": cost})
    total, before, fees = sum(splits), 0, 0
    for amount in splits:
        fees += fee_of_capture(
            pricing, "card_alpha", amount_minor=amount, captured_before_minor=before, charge_minor=total
        )
        before += amount
    assert fees == cost or cost > total or any(amount < cost for amount in splits)


def test_a_plan_survives_being_stored() -> None:
    plan = replace(PLAN, refund_fee=RefundFee.PRORATA, dispute_fees={"EUR": 900}, dispute_fee_when_won="returned")
    assert pricing_plan_of(pricing_plan_document(plan)) == plan
    before_tiers = pricing_plan_of({"prices": {"EUR": {"basis_points": 100, "fixed": 10}}})
    assert before_tiers.tier("card_alpha", "EUR", 0).price == Price(basis_points=100, fixed_minor=10)
    assert pricing_plan_of(None) == PricingPlan()


@given(data=st.data(), captured=st.integers(1, 1_000_000), policy=st.sampled_from(list(RefundFee)))
def test_rule_20_partial_refunds_return_exactly_what_the_full_one_does(
    data: st.DataObject, captured: int, policy: RefundFee
) -> None:
    """Whatever the split, and whichever of its refunds come back in between."""
    charged = data.draw(st.integers(0, captured))
    returned = refunded = 0
    steps = data.draw(st.lists(st.integers(1, captured), max_size=12))
    for step in steps:
        refunded = refunded + step if refunded + step <= captured else max(refunded - step, 0)
        due = fee_to_return_minor(policy, charged, refunded, captured)
        returned += due - returned
        assert 0 <= returned <= charged
    returned += fee_to_return_minor(policy, charged, captured, captured) - returned
    assert returned == (0 if policy is RefundFee.NONE else charged)


def test_rule_20_the_example_of_the_docstring() -> None:
    assert fee_to_return_minor("prorata", 158, 5000, 8420) == 94
    assert fee_to_return_minor("full", 158, 8419, 8420) == 0
    assert fee_to_return_minor("none", 158, 8420, 8420) == 0
