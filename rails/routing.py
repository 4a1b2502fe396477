"""Which rail to try first, second, third, and why: a pure ranking.

Decides by utility in minor units of the order's currency, so that every weight is a price:

    utility = approval_weight · P(approve) · amount − cost_weight · landed cost − speed_weight · seconds

84.20 EUR on card_alpha (90 bp + 10, P = 0.94, 2 s) with the default weights:
0.25 · 0.94 · 8420 − 1 · 85.78 − 0.0001 · 2 = 1978.70 − 85.78 − 0.0002 = 1892.92.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from domain.money import check_amount, format_amount
from domain.rail import RouteOption
from rails.adapter import RailPrice, RailProfile
from rails.approval_odds import Odds
from rails.exploration import Exploration, explored
from rails.health import Standing

COST_WEIGHT = 1.0
"""What one minor unit of cost is worth: itself. Above 1, a merchant who hates fees."""

APPROVAL_WEIGHT = 0.25
"""Share of the amount a merchant loses when a good order is turned down: its margin.

A point of approval on 84.20 EUR is then worth 0.01 · 0.25 · 8420 = 21 cents."""

SPEED_WEIGHT = 0.0001
"""Minor units a merchant pays to have the money final one second sooner: 8.64 a day."""

PLAN_LENGTH_MIN = 2
"""Rails with an open circuit stay out of a plan unless it would be shorter than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingWeights:
    """A merchant's prices for cost, approval and speed; none may be negative."""

    cost: float = COST_WEIGHT
    approval: float = APPROVAL_WEIGHT
    speed: float = SPEED_WEIGHT

    def __post_init__(self) -> None:
        assert self.cost >= 0.0 and self.approval >= 0.0 and self.speed >= 0.0


DEFAULT_WEIGHTS = RoutingWeights()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What an order that looks for news needs to know: how sure the odds are, and the merchant's bounds."""

    odds: Mapping[str, Odds]
    exploration: Exploration


def landed_cost_minor(price: RailPrice, amount_minor: int) -> float:
    """Return what an order costs at a rail: 90 bp + 10 on 8420 is 75.78 + 10 = 85.78."""
    return amount_minor * price.basis_points / 10_000 + price.fixed_minor


def rank(
    *,
    amount_minor: int,
    currency: str,
    profiles: Sequence[RailProfile],
    approval_probability: Mapping[str, float],
    standings: Mapping[str, Standing] | None = None,
    weights: RoutingWeights = DEFAULT_WEIGHTS,
    forced_rail: str | None = None,
    cost_factor: Mapping[str, float] | None = None,
    settlement_seconds: Mapping[str, float] | None = None,
    search: Search | None = None,
) -> tuple[RouteOption, ...]:
    """Return the route plan, best rail first; ties go by rail name. Empty when no rail can do it.

    `approval_probability` by rail; a rail without one has its profile's prior. `cost_factor`: what a rail
    really cost by its price list, 1 without one. `settlement_seconds`: the wait now, the profile's without
    one. A forced rail is a plan of one, whatever its health: the merchant chose it, and it never fails
    over. `search`: this order may look for news; never with a forced rail.
    """
    check_amount(amount_minor)
    options = [
        _weigh(
            amount_minor,
            currency,
            profile,
            approval_probability.get(profile.name, profile.approval_prior),
            weights,
            (cost_factor or {}).get(profile.name, 1.0),
            (settlement_seconds or {}).get(profile.name, profile.settlement_seconds),
        )
        for profile in profiles
        if profile.takes(currency, amount_minor) and forced_rail in (None, profile.name)
    ]
    options.sort(key=lambda option: (-option.utility, option.rail))
    if forced_rail is not None:
        return tuple(_explain(option, None, currency, note="The request names this rail.") for option in options)
    options = _leave_out_open(options, standings or {})
    if search is not None:
        options = _look_for_news(options, standings or {}, search, amount_minor, weights)
    return _explain_all(options, standings or {}, currency)


def _look_for_news(
    options: list[RouteOption],
    standings: Mapping[str, Standing],
    search: Search,
    amount_minor: int,
    weights: RoutingWeights,
) -> list[RouteOption]:
    """Return the plan with a promising rail first; a troubled one is no place to look."""
    sound = [option for option in options if standings.get(option.rail, Standing.CLOSED) is Standing.CLOSED]
    rest = [option for option in options if option not in sound]
    return [
        *explored(
            sound,
            search.odds,
            amount_minor=amount_minor,
            approval_weight=weights.approval,
            exploration=search.exploration,
        ),
        *rest,
    ]


def _weigh(
    amount_minor: int,
    currency: str,
    profile: RailProfile,
    probability: float,
    weights: RoutingWeights,
    cost_factor: float,
    settlement_seconds: float,
) -> RouteOption:
    assert 0.0 <= probability <= 1.0 and cost_factor >= 0.0
    cost = landed_cost_minor(profile.prices[currency], amount_minor) * cost_factor
    terms = {
        "approval": weights.approval * probability * amount_minor,
        "cost": -weights.cost * cost,
        "speed": -weights.speed * settlement_seconds,
    }
    return RouteOption(
        rail=profile.name,
        utility=sum(terms.values()),
        landed_cost_minor=cost,
        approval_probability=probability,
        settlement_seconds=settlement_seconds,
        terms=terms,
    )


def _leave_out_open(options: list[RouteOption], standings: Mapping[str, Standing]) -> list[RouteOption]:
    """Leave out rails whose circuit is open, but keep the best of them if too few others remain.

    A plan of nothing turns everybody away for sure; a troubled rail behind the healthy ones may
    still work.
    """
    usable = [option for option in options if standings.get(option.rail) is not Standing.OPEN]
    troubled = [option for option in options if standings.get(option.rail) is Standing.OPEN]
    return usable + troubled[: max(0, PLAN_LENGTH_MIN - len(usable))]


def _explain_all(
    options: list[RouteOption], standings: Mapping[str, Standing], currency: str
) -> tuple[RouteOption, ...]:
    notes = {
        Standing.OPEN: "Its circuit is open: kept as a last resort only.",
        Standing.HALF_OPEN: "Its circuit is half open: this order is a probe.",
        Standing.CLOSED: "",
    }
    news = "Tried now for what it may turn out to be worth; few orders are."
    return tuple(
        _explain(
            option,
            options[0] if position else None,
            currency,
            note=news if "exploration" in option.terms else notes[standings.get(option.rail, Standing.CLOSED)],
        )
        for position, option in enumerate(options)
    )


def _explain(option: RouteOption, best: RouteOption | None, currency: str, *, note: str) -> RouteOption:
    """Return the option with its reason: what it promises, and how far it lies behind the first."""
    cost = format_amount(round(option.landed_cost_minor), currency)
    reason = (
        f"{option.rail} approves about {option.approval_probability:.1%} of such orders, costs {cost} "
        f"and has the money final {_describe_wait(option.settlement_seconds)}."
    )
    if best is not None and best.utility >= option.utility:
        behind = format_amount(round(best.utility - option.utility), currency)
        reason += f" Worth {behind} less than {best.rail}, most of it {_main_difference(option, best)}."
    if note:
        reason += f" {note}"
    return replace(option, reason=reason)


def _main_difference(option: RouteOption, best: RouteOption) -> str:
    names = {"approval": "for fewer approvals", "cost": "for its cost", "speed": "for the wait"}
    worst = max(sorted(names), key=lambda term: best.terms[term] - option.terms[term])
    return names[worst]


def _describe_wait(seconds: float) -> str:
    if seconds < 60:
        return f"within {max(1, round(seconds))} s"
    if seconds < 86_400:
        return f"within {round(seconds / 60)} min"
    return f"after {seconds / 86_400:.0f} days" if seconds >= 172_800 else "after a day"
