"""What a merchant's policy makes of a score. Pure; decides nothing else."""

from domain.risk import RiskDecision, RiskPolicy


def decide(score: float | None, policy: RiskPolicy) -> RiskDecision:
    """Return the decision on a score in [0, 1]; None is a model outage.

    Thresholds are half-open (semantics rule 13): with step_up_at 0.65 and block_at 0.90, 0.6499 is
    allowed, 0.65 steps up, 0.8999 steps up, 0.90 blocks. Where both thresholds are equal there is no
    step-up band. An outage follows the merchant's explicit fallback, never a silent allow.
    """
    if score is None:
        return policy.on_model_outage
    assert 0.0 <= score <= 1.0, f"score {score} is not a probability"
    if score >= policy.block_at:
        return RiskDecision.BLOCK
    if score >= policy.step_up_at:
        return RiskDecision.STEP_UP
    return RiskDecision.ALLOW
