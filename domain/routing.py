"""A merchant's routing policy: weights that are prices, and how many rails may be tried."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXPLORATION = 0.01
EXPLORATION_LOSS_MAX = 0.02
EXPLORATION_MAX = 0.2
"""More would not be looking for news but not deciding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """What a merchant pays for.

    `cost` multiplies landed cost (1 is its face value); `approval` is the share of the amount lost
    when a good order is turned down (its margin); `speed` is minor units per second of settlement.
    `exploration` is the share of orders that may go to another rail than the best to learn about it, and
    `exploration_loss_max` the most such an order may be worth less, as a share of its amount.
    """

    cost: float = 1.0
    approval: float = 0.25
    speed: float = 0.0001
    attempts_max: int = 3
    exploration: float = EXPLORATION
    exploration_loss_max: float = EXPLORATION_LOSS_MAX

    def __post_init__(self) -> None:
        assert 0 <= self.exploration <= EXPLORATION_MAX and self.exploration_loss_max >= 0
        assert self.cost >= 0 and self.approval >= 0 and self.speed >= 0
        assert 1 <= self.attempts_max <= 10


def routing_policy_of(document: Mapping[str, Any] | None) -> RoutingPolicy:
    """Return a stored routing policy (`weights`, `max_attempts`), or the default for none."""
    if document is None:
        return RoutingPolicy()
    weights = document["weights"]
    return RoutingPolicy(
        cost=weights["cost"],
        approval=weights["approval"],
        speed=weights["speed"],
        attempts_max=document["max_attempts"],
        exploration=document.get("exploration", EXPLORATION),
        exploration_loss_max=document.get("exploration_loss_max", EXPLORATION_LOSS_MAX),
    )


def routing_policy_document(policy: RoutingPolicy) -> dict[str, Any]:
    """Return the policy as the API shows it."""
    return {
        "weights": {"cost": policy.cost, "approval": policy.approval, "speed": policy.speed},
        "max_attempts": policy.attempts_max,
        "exploration": policy.exploration,
        "exploration_loss_max": policy.exploration_loss_max,
    }
