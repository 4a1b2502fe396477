"""Route plans: the worked example, and what must hold for any rails, amounts and weights."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from domain.rail import Flow
from domain.routing import RoutingPolicy
from rails.adapter import RailPrice, RailProfile
from rails.adapters.sandbox.profiles import SANDBOX_PROFILES
from rails.health import Standing
from rails.routing import DEFAULT_WEIGHTS, RoutingWeights, landed_cost_minor, rank

CARD_RAILS = [profile for profile in SANDBOX_PROFILES if profile.kind == "card"]
PAYOUT_RAILS = [profile for profile in SANDBOX_PROFILES if Flow.PAYOUT in profile.flows]


def profile(
    name: str, *, basis_points: int = 100, fixed: int = 10, prior: float = 0.9, wait: float = 60
) -> RailProfile:
    return RailProfile(
        name=name,
        kind="card",
        flows=frozenset({Flow.AUTHORIZE}),
        prices={"EUR": RailPrice(basis_points=basis_points, fixed_minor=fixed)},
        settlement_seconds=wait,
        final_funds=True,
        idempotent=True,
        not_found_final_after_seconds=None,
        approval_prior=prior,
    )


profiles_drawn = st.lists(
    st.builds(
        profile,
        st.text("abcdefgh", min_size=1, max_size=4),
        basis_points=st.integers(0, 500),
        fixed=st.integers(0, 100),
        prior=st.floats(0.01, 0.99),
        wait=st.floats(0, 1e6),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda drawn: drawn.name,
)
amounts = st.integers(1, 10**12)
weights_drawn = st.builds(
    RoutingWeights, cost=st.floats(0, 10), approval=st.floats(0, 1), speed=st.floats(0, 1, allow_subnormal=False)
)


def test_the_pages_call_goes_to_alpha_with_every_term() -> None:
    plan = rank(amount_minor=8420, currency="EUR", profiles=CARD_RAILS, approval_probability={})
    assert [option.rail for option in plan] == ["card_alpha", "card_beta", "card_gamma"]
    best = plan[0]
    assert round(best.landed_cost_minor, 2) == 85.78
    assert {name: round(term, 4) for name, term in best.terms.items()} == {
        "approval": 1978.7,
        "cost": -85.78,
        "speed": -0.0002,
    }
    assert round(best.utility, 2) == 1892.92
    assert best.reason == (
        "card_alpha approves about 94.0% of such orders, costs 0.86 EUR and has the money final within 2 s."
    )
    assert plan[1].reason.endswith("Worth 0.72 EUR less than card_alpha, most of it for fewer approvals.")


@given(amount_minor=amounts)
def test_alpha_is_first_at_any_amount_and_instant_bank_for_any_payout(amount_minor: int) -> None:
    cards = rank(amount_minor=amount_minor, currency="EUR", profiles=CARD_RAILS, approval_probability={})
    payouts = rank(amount_minor=amount_minor, currency="EUR", profiles=PAYOUT_RAILS, approval_probability={})
    assert (cards[0].rail, payouts[0].rail) == ("card_alpha", "bank_instant")


@given(profiles=profiles_drawn, amount_minor=amounts, weights=weights_drawn)
def test_plan_is_sorted_by_the_sum_of_its_terms(
    profiles: list[RailProfile], amount_minor: int, weights: RoutingWeights
) -> None:
    plan = rank(amount_minor=amount_minor, currency="EUR", profiles=profiles, approval_probability={}, weights=weights)
    assert {option.rail for option in plan} == {profile.name for profile in profiles}
    assert all(option.utility == sum(option.terms.values()) for option in plan)
    assert [(-option.utility, option.rail) for option in plan] == sorted((-o.utility, o.rail) for o in plan)
    assert all(option.reason for option in plan)


@given(profiles=profiles_drawn, amount_minor=amounts, weights=weights_drawn, seed=st.randoms())
def test_plan_does_not_depend_on_the_order_of_the_profiles(
    profiles: list[RailProfile], amount_minor: int, weights: RoutingWeights, seed: object
) -> None:
    shuffled = list(profiles)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    plans = [
        rank(amount_minor=amount_minor, currency="EUR", profiles=drawn, approval_probability={}, weights=weights)
        for drawn in (profiles, shuffled)
    ]
    assert plans[0] == plans[1]


@given(profiles=profiles_drawn, amount_minor=amounts, weights=weights_drawn, rise=st.integers(1, 300))
def test_a_dearer_rail_never_rises_and_a_likelier_one_never_falls(
    profiles: list[RailProfile], amount_minor: int, weights: RoutingWeights, rise: int
) -> None:
    chosen = profiles[0]
    price = chosen.prices["EUR"]
    dearer = replace(chosen, prices={"EUR": replace(price, basis_points=price.basis_points + rise)})

    def place(profiles: list[RailProfile], odds: dict[str, float]) -> int:
        plan = rank(
            amount_minor=amount_minor, currency="EUR", profiles=profiles, approval_probability=odds, weights=weights
        )
        return [option.rail for option in plan].index(chosen.name)

    assert place([dearer, *profiles[1:]], {}) >= place(profiles, {})
    assert place(profiles, {chosen.name: 1.0}) <= place(profiles, {})


def test_weights_are_prices() -> None:
    rails = [
        profile("cheap", basis_points=10, prior=0.5, wait=1e6),
        profile("fast", basis_points=200, prior=0.5, wait=0),
        profile("sure", basis_points=200, prior=0.99, wait=1e6),
    ]

    def first(weights: RoutingWeights) -> str:
        plan = rank(amount_minor=10_000, currency="EUR", profiles=rails, approval_probability={}, weights=weights)
        return plan[0].rail

    assert first(RoutingWeights(cost=1, approval=0, speed=0)) == "cheap"
    assert first(RoutingWeights(cost=0, approval=0, speed=1)) == "fast"
    assert first(RoutingWeights(cost=0, approval=1, speed=0)) == "sure"


def test_ties_go_by_name() -> None:
    twins = [profile("rail_b"), profile("rail_a")]
    plan = rank(amount_minor=100, currency="EUR", profiles=twins, approval_probability={})
    assert [option.rail for option in plan] == ["rail_a", "rail_b"]


def test_forced_rail_is_a_plan_of_one_whatever_its_health() -> None:
    plan = rank(
        amount_minor=8420,
        currency="EUR",
        profiles=CARD_RAILS,
        approval_probability={},
        standings={"card_gamma": Standing.OPEN},
        forced_rail="card_gamma",
    )
    assert [option.rail for option in plan] == ["card_gamma"]
    assert "names this rail" in plan[0].reason


def test_what_no_rail_can_do_has_no_plan() -> None:
    nothing = {"amount_minor": 100, "approval_probability": {}}
    assert rank(currency="USDC", profiles=CARD_RAILS, **nothing) == ()  # type: ignore[arg-type]
    assert rank(currency="EUR", profiles=CARD_RAILS, forced_rail="card_omega", **nothing) == ()  # type: ignore[arg-type]


def test_open_circuit_is_left_out_but_a_plan_keeps_two_rails() -> None:
    def planned(standings: dict[str, Standing]) -> list[str]:
        plan = rank(
            amount_minor=8420, currency="EUR", profiles=CARD_RAILS, approval_probability={}, standings=standings
        )
        return [option.rail for option in plan]

    assert planned({"card_alpha": Standing.OPEN}) == ["card_beta", "card_gamma"]
    assert planned({"card_alpha": Standing.HALF_OPEN}) == ["card_alpha", "card_beta", "card_gamma"]
    assert planned({"card_alpha": Standing.OPEN, "card_beta": Standing.OPEN}) == ["card_gamma", "card_alpha"]
    assert planned({rail.name: Standing.OPEN for rail in CARD_RAILS}) == ["card_alpha", "card_beta"]


def test_landed_cost_and_prices_by_exponent() -> None:
    alpha = CARD_RAILS[0]
    assert landed_cost_minor(alpha.prices["EUR"], 8420) == 85.78
    assert [alpha.prices[currency].fixed_minor for currency in ("EUR", "KWD", "JPY")] == [10, 100, 1]


def test_default_weights_are_those_of_the_default_policy() -> None:
    policy = RoutingPolicy()
    assert RoutingWeights(cost=policy.cost, approval=policy.approval, speed=policy.speed) == DEFAULT_WEIGHTS
