"""The risk decision as the rest of the core sees it; scoring itself lives in `risk/`."""

from dataclasses import dataclass, field
from enum import StrEnum


class RiskDecision(StrEnum):
    """What the merchant's policy makes of a score."""

    ALLOW = "allow"
    STEP_UP = "step_up"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskPolicy:
    """A merchant's thresholds on a score in [0, 1], half-open: `score >= block_at` blocks.

    `on_model_outage` says what happens when no score can be had; there is no silent allow.
    """

    step_up_at: float = 0.65
    block_at: float = 0.90
    on_model_outage: RiskDecision = RiskDecision.STEP_UP

    def __post_init__(self) -> None:
        assert 0.0 <= self.step_up_at <= self.block_at <= 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskAssessment:
    """A decision with all it was made from. `score` is None only in a model outage."""

    score: float | None
    decision: RiskDecision
    model_version: str
    reasons: tuple[str, ...]
    step_up_at: float
    block_at: float
    features: dict[str, float | str] = field(default_factory=dict)
