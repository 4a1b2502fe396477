"""Now and then another rail than the best: what is not tried is not known.

Decides which few orders look for news, by a draw from the order's own id, so that the decision can be
recomputed. Bounded twice for each merchant: a share of its orders, and what one may cost it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from domain.rail import RouteOption
from rails.approval_odds import Odds

OPTIMISM = 2.0
"""Deviations of the posterior by which a rail may turn out better than it looks."""

_DRAWS = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """A merchant's bounds: the share of orders, and the most one may be worth less, as a share of its amount."""

    share: float = 0.01
    loss_share_max: float = 0.02

    def __post_init__(self) -> None:
        assert 0.0 <= self.share <= 1.0 and self.loss_share_max >= 0.0


def explores(order_id: str, exploration: Exploration) -> bool:
    """Tell whether this order is one of the few; always the same answer for the same order."""
    digest = hashlib.sha256(order_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") / _DRAWS < exploration.share


def explored(
    options: Sequence[RouteOption],
    odds: Mapping[str, Odds],
    *,
    amount_minor: int,
    approval_weight: float,
    exploration: Exploration,
) -> tuple[RouteOption, ...]:
    """Return the options with the most promising of the others first, if its promise is worth its price.

    What the news is worth is a term of its own, so the plan is still sorted by the sum of its terms.
    """
    if len(options) < 2:
        return tuple(options)
    best = options[0]
    promises = {
        option.rail: option.utility + OPTIMISM * odds[option.rail].deviation * approval_weight * amount_minor
        for option in options[1:]
        if option.rail in odds and best.utility - option.utility <= exploration.loss_share_max * amount_minor
    }
    chosen = max(promises, key=lambda rail: (promises[rail], rail), default=None)
    if chosen is None or promises[chosen] <= best.utility:
        return tuple(options)
    option = next(option for option in options if option.rail == chosen)
    terms = {**option.terms, "exploration": promises[chosen] - option.utility}
    lifted = replace(option, terms=terms, utility=sum(terms.values()))
    return (lifted, *(other for other in options if other.rail != chosen))
