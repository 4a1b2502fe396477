"""Looking for news: bounded in how often and at what price, and always the same decision for the same order."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from domain.rail import Flow
from rails.adapter import RailPrice, RailProfile
from rails.approval_odds import Odds
from rails.exploration import Exploration, explores
from rails.health import Standing
from rails.routing import Search, rank

KNOWN = Odds(mean=0.92, strength=50_000)
VAGUE = Odds(mean=0.90, strength=50)


def profile(name: str) -> RailProfile:
    return RailProfile(
        name=name,
        kind="card",
        flows=frozenset({Flow.AUTHORIZE}),
        prices={"EUR": RailPrice(basis_points=80, fixed_minor=10)},
        settlement_seconds=60,
        final_funds=True,
        idempotent=True,
        not_found_final_after_seconds=None,
        approval_prior=0.9,
    )


RAILS = [profile("known"), profile("vague")]


def planned(search: Search | None, **options: object) -> list[str]:
    plan = rank(
        amount_minor=8_420,
        currency="EUR",
        profiles=RAILS,
        approval_probability={"known": KNOWN.mean, "vague": VAGUE.mean},
        search=search,
        **options,  # type: ignore[arg-type]
    )
    assert all(option.utility == sum(option.terms.values()) for option in plan)
    assert [option.utility for option in plan] == sorted((option.utility for option in plan), reverse=True)
    return [option.rail for option in plan]


def test_the_vague_rail_is_tried_and_the_plan_says_why() -> None:
    search = Search(odds={"known": KNOWN, "vague": VAGUE}, exploration=Exploration())
    assert planned(None) == ["known", "vague"]
    assert planned(search) == ["vague", "known"]
    plan = rank(
        amount_minor=8_420,
        currency="EUR",
        profiles=RAILS,
        approval_probability={"known": KNOWN.mean, "vague": VAGUE.mean},
        search=search,
    )
    assert plan[0].terms["exploration"] > 0 and "Tried now" in plan[0].reason


def test_news_has_a_price_it_may_not_exceed() -> None:
    odds = {"known": KNOWN, "vague": VAGUE}
    stingy = Exploration(loss_share_max=0.001)
    assert planned(Search(odds=odds, exploration=stingy)) == ["known", "vague"]


def test_a_rail_that_is_well_known_has_no_news() -> None:
    odds = {"known": KNOWN, "vague": replace(VAGUE, strength=1_000_000)}
    assert planned(Search(odds=odds, exploration=Exploration())) == ["known", "vague"]


def test_a_troubled_rail_is_no_place_to_look() -> None:
    search = Search(odds={"known": KNOWN, "vague": VAGUE}, exploration=Exploration())
    assert planned(search, standings={"vague": Standing.HALF_OPEN}) == ["known", "vague"]
    assert planned(search, forced_rail="known") == ["known"]


@given(order_id=st.text(min_size=1))
def test_nobody_explores_with_a_share_of_nothing_and_all_with_the_whole(order_id: str) -> None:
    assert not explores(order_id, Exploration(share=0.0))
    assert explores(order_id, Exploration(share=1.0))
    assert explores(order_id, Exploration(share=0.5)) == explores(order_id, Exploration(share=0.5))


def test_the_share_is_kept() -> None:
    few = sum(explores(f"ch_{number}", Exploration(share=0.01)) for number in range(20_000))
    assert 120 < few < 280
