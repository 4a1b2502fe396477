"""How likely a rail approves: a Beta posterior per rail.

Decides which outcomes say something about the rail. A hard decline, a wrong expiry date or a wish
for authentication is about the card and would have come from any rail, so only approvals and soft
declines count. Pure; whoever calls reads the counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PRIOR_STRENGTH = 400.0
"""The prior counts as much as this many attempts: routes don't flip over a handful of declines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCounts:
    """Outcomes at one rail over a recent window (a day, say)."""

    approved: int = 0
    declined_soft: int = 0

    def __post_init__(self) -> None:
        assert self.approved >= 0 and self.declined_soft >= 0


def approval_probability(prior: float, counts: AttemptCounts, *, prior_strength: float = PRIOR_STRENGTH) -> float:
    """Return the posterior mean of P(approve), strictly between 0 and 1.

    Prior 0.94 worth 400 attempts, then 90 approved and 10 declined: (376 + 90) / (400 + 100) = 0.932.
    """
    assert 0.0 < prior < 1.0 and prior_strength > 0.0
    return (prior * prior_strength + counts.approved) / (prior_strength + counts.approved + counts.declined_soft)


def approval_probabilities(
    priors: Mapping[str, float], counts: Mapping[str, AttemptCounts], *, prior_strength: float = PRIOR_STRENGTH
) -> dict[str, float]:
    """Return P(approve) for every rail that has a prior; rails without counts keep theirs."""
    return {
        rail: approval_probability(prior, counts.get(rail, AttemptCounts()), prior_strength=prior_strength)
        for rail, prior in priors.items()
    }
