"""The whole risk decision on one charge: facts in, a stored assessment out. No I/O."""

import logging

from domain.risk import RiskAssessment, RiskPolicy
from risk.features import FEATURE_NAMES, RiskFacts, feature_vector
from risk.model import RiskModel, Score
from risk.policy import decide
from risk.sandbox_tokens import SANDBOX_REASON, as_ordinary_card, is_shared_instrument, sandbox_score

OUTAGE_VERSION = "unavailable"
OUTAGE_REASON = "no score could be had; the merchant's fallback applies"

_log = logging.getLogger(__name__)


def assess(model: RiskModel | None, facts: RiskFacts, policy: RiskPolicy) -> RiskAssessment:
    """Return the decision on a charge with all it was made from.

    Never raises for want of a score: a missing model, or one that fails, is an outage and follows
    `policy.on_model_outage`. Sandbox tokens are scored as `risk/sandbox_tokens.py` says.
    """
    if is_shared_instrument(facts.source, facts.mode):
        facts = as_ordinary_card(facts)
    features = feature_vector(facts)
    score = _score(model, features, facts)
    return RiskAssessment(
        score=None if score is None else round(score.value, 6),
        decision=decide(None if score is None else round(score.value, 6), policy),
        model_version=OUTAGE_VERSION if model is None or score is None else model.version,
        reasons=(OUTAGE_REASON,) if score is None else score.reasons,
        step_up_at=policy.step_up_at,
        block_at=policy.block_at,
        features=dict(zip(FEATURE_NAMES, features, strict=True)),
    )


def _score(model: RiskModel | None, features: list[float], facts: RiskFacts) -> Score | None:
    forced = sandbox_score(facts.source, facts.mode)
    if forced is not None:
        return Score(forced, (SANDBOX_REASON,))
    if model is None:
        return None
    try:
        return model.score_with_reasons(features)
    except Exception:
        # Whatever stops the model is an outage, which the merchant has decided about; a charge
        # must neither fail nor pass silently because of it.
        _log.exception("risk model %s failed to score", model.version)
        return None
