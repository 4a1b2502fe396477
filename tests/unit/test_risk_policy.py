"""Thresholds, outage and sandbox tokens: what becomes of a score."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import Mode
from domain.risk import RiskDecision, RiskPolicy
from domain.sandbox import SANDBOX_TOKENS
from risk.assess import OUTAGE_VERSION, assess
from risk.features import RiskFacts
from risk.model import RiskModel
from risk.policy import decide

POLICY = RiskPolicy(step_up_at=0.65, block_at=0.90)


@pytest.fixture(scope="module")
def model() -> RiskModel:
    return RiskModel.load()


def facts(source: str = "tok_01j0000000000000000000000a", mode: Mode = Mode.TEST, **changes: object) -> RiskFacts:
    ordinary: dict[str, object] = {
        "amount_minor": 8420,
        "currency": "EUR",
        "requested_at": datetime(2026, 3, 2, 14, 5, tzinfo=UTC),
        "merchant_country": "DE",
        "bin_country": "DE",
        "brand": "visa",
        "token_age_seconds": 5_000_000.0,
    }
    return RiskFacts(source=source, mode=mode, **(ordinary | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("score", "decision"),
    [
        (0.0, RiskDecision.ALLOW),
        (math.nextafter(0.65, 0), RiskDecision.ALLOW),
        (0.65, RiskDecision.STEP_UP),
        (math.nextafter(0.90, 0), RiskDecision.STEP_UP),
        (0.90, RiskDecision.BLOCK),
        (1.0, RiskDecision.BLOCK),
    ],
)
def test_rule_13_thresholds_are_half_open(score: float, decision: RiskDecision) -> None:
    assert decide(score, POLICY) is decision


@pytest.mark.parametrize("fallback", list(RiskDecision))
def test_rule_13_outage_follows_the_merchants_fallback(fallback: RiskDecision) -> None:
    policy = RiskPolicy(on_model_outage=fallback)
    assert decide(None, policy) is fallback
    assessment = assess(None, facts(), policy)
    assert (assessment.decision, assessment.score, assessment.model_version) == (fallback, None, OUTAGE_VERSION)
    assert assessment.reasons


def test_the_default_fallback_is_not_a_silent_allow() -> None:
    assert decide(None, RiskPolicy()) is not RiskDecision.ALLOW


@given(
    score=st.floats(0, 1),
    thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_decision_rises_with_the_score(score: float, thresholds: list[float]) -> None:
    policy = RiskPolicy(step_up_at=thresholds[0], block_at=thresholds[1])
    order = [RiskDecision.ALLOW, RiskDecision.STEP_UP, RiskDecision.BLOCK]
    assert order.index(decide(score, policy)) <= order.index(decide(1.0, policy))
    assert (decide(score, policy) is RiskDecision.ALLOW) == (score < thresholds[0])


def test_empty_band_and_extreme_thresholds() -> None:
    assert decide(0.5, RiskPolicy(step_up_at=0.5, block_at=0.5)) is RiskDecision.BLOCK
    assert decide(0.0, RiskPolicy(step_up_at=0.0, block_at=1.0)) is RiskDecision.STEP_UP
    assert decide(0.0, RiskPolicy(step_up_at=0.0, block_at=0.0)) is RiskDecision.BLOCK


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_a_score_outside_zero_to_one_stops(score: float) -> None:
    with pytest.raises(AssertionError):
        decide(score, POLICY)


@pytest.mark.parametrize(
    ("token", "score", "decision"),
    [("tok_risk_block", 0.97, RiskDecision.BLOCK), ("tok_risk_step_up", 0.75, RiskDecision.STEP_UP)],
)
def test_risk_tokens_of_the_sandbox(model: RiskModel, token: str, score: float, decision: RiskDecision) -> None:
    assessment = assess(model, facts(token), RiskPolicy())
    assert (assessment.score, assessment.decision, assessment.reasons) == (score, decision, ("sandbox token",))
    assert assessment.model_version == model.version


def test_risk_tokens_mean_nothing_in_live_mode(model: RiskModel) -> None:
    assert assess(model, facts("tok_risk_block", Mode.LIVE), RiskPolicy()).score != 0.97


@pytest.mark.parametrize("token", sorted((SANDBOX_TOKENS | {"tok_random_7"}) - {"tok_risk_block", "tok_risk_step_up"}))
def test_other_sandbox_tokens_are_allowed_however_often_and_whenever(model: RiskModel, token: str) -> None:
    for hour in (0, 3, 12, 23):
        for amount_minor in (1, 100, 8420, 50_000, 1_000_000):
            busy = facts(
                token,
                amount_minor=amount_minor,
                requested_at=datetime(2026, 3, 2, hour, tzinfo=UTC),
                bin_country="US",
                token_age_seconds=0.0,
                attempts_10_minutes=500,
                attempts_24_hours=5_000,
                declines_24_hours=4_000,
                is_new_customer=True,
            )
            assert assess(model, busy, RiskPolicy()).decision is RiskDecision.ALLOW


@pytest.mark.parametrize(("currency", "amount_minor"), [("JPY", 8420), ("KWD", 8420), ("USD", 8420), ("USDC", 10**7)])
def test_sandbox_tokens_are_allowed_in_other_currencies(model: RiskModel, currency: str, amount_minor: int) -> None:
    charge = facts("tok_visa_4291", currency=currency, amount_minor=amount_minor)
    assert assess(model, charge, RiskPolicy()).decision is RiskDecision.ALLOW


def test_a_failing_model_is_an_outage_not_an_error() -> None:
    class Broken(RiskModel):
        def __init__(self) -> None:
            self.version = "broken"

        def score_with_reasons(self, features: object) -> object:  # type: ignore[override]
            raise RuntimeError("no")

    assessment = assess(Broken(), facts(), RiskPolicy(on_model_outage=RiskDecision.BLOCK))
    assert (assessment.decision, assessment.score) == (RiskDecision.BLOCK, None)


def test_the_assessment_holds_all_it_was_made_from(model: RiskModel) -> None:
    policy = RiskPolicy(step_up_at=0.2, block_at=0.8)
    assessment = assess(model, facts(), policy)
    assert (assessment.step_up_at, assessment.block_at) == (0.2, 0.8)
    assert assessment.score is not None and assessment.decision is decide(assessment.score, policy)
    again = model.score([float(value) for value in assessment.features.values()])
    assert again == pytest.approx(assessment.score, abs=1e-6)
