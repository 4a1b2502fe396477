"""What another policy would have chosen, by what was known when the real one chose. Pure.

Decides over stored plans: probabilities, costs and waits are those of the time, only the weights change. It
answers what the router would have expected, not what would have happened: nobody knows that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from domain.rail import RouteOption
from rails.routing import RoutingWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOrder:
    """An order with the plan it was decided by."""

    amount_minor: int
    options: Sequence[RouteOption]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a policy's first choices are expected to do, over all orders; costs in minor units an order."""

    orders: int
    approval_rate: float
    cost_minor: float
    settlement_seconds: float
    first_choices: dict[str, int]


def expect(orders: Iterable[PastOrder], weights: RoutingWeights) -> Expectation:
    """Return what these weights' first choices are expected to do; of nothing, zeros."""
    chosen = [_first(order, weights) for order in orders if order.options]
    counted = max(1, len(chosen))
    choices: dict[str, int] = {}
    for option in chosen:
        choices[option.rail] = choices.get(option.rail, 0) + 1
    return Expectation(
        orders=len(chosen),
        approval_rate=sum(option.approval_probability for option in chosen) / counted,
        cost_minor=sum(option.landed_cost_minor for option in chosen) / counted,
        settlement_seconds=sum(option.settlement_seconds for option in chosen) / counted,
        first_choices=dict(sorted(choices.items())),
    )


def _first(order: PastOrder, weights: RoutingWeights) -> RouteOption:
    def utility(option: RouteOption) -> float:
        return (
            weights.approval * option.approval_probability * order.amount_minor
            - weights.cost * option.landed_cost_minor
            - weights.speed * option.settlement_seconds
        )

    return min(order.options, key=lambda option: (-utility(option), option.rail))
