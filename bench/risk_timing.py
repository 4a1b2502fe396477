"""How long risk takes for one charge, in process and without load: a share of every charge's latency."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from bench.arithmetic import distribution
from domain.identifiers import Mode
from domain.risk import RiskPolicy
from risk.assess import assess
from risk.features import RiskFacts, feature_vector
from risk.model import RiskModel

WARM_UP = 200


def time_risk(count: int) -> dict[str, Any]:
    """Return the distribution of two things over `count` charges, each different, in ms.

    `score`: features assembled and one row scored. `assess`: all that a charge waits for, which is
    the same plus the reasons (a batch of rows) and the decision under a policy.
    """
    model, policy = RiskModel.load(), RiskPolicy()
    return {
        "count": count,
        "model_version": model.version,
        "score_ms": distribution(_timed(lambda facts: model.score(feature_vector(facts)), count)),
        "assess_ms": distribution(_timed(lambda facts: assess(model, facts, policy), count)),
    }


def _timed(act: Callable[[RiskFacts], object], count: int) -> list[float]:
    latencies_ms = []
    for facts in _charges(WARM_UP):
        act(facts)
    for facts in _charges(count):
        started = time.perf_counter()
        act(facts)
        latencies_ms.append((time.perf_counter() - started) * 1000)
    return latencies_ms


def _charges(count: int) -> Iterator[RiskFacts]:
    """Yield the facts of cards of every age and history, so that no two rows are the same."""
    for number in range(count):
        yield RiskFacts(
            source=f"tok_bench_{number}",
            mode=Mode.TEST,
            amount_minor=100 + number * 37 % 50_000,
            currency="EUR",
            requested_at=datetime(2025, 1, 1, number % 24, number % 60, tzinfo=UTC),
            merchant_country="DE",
            bin_country="DE" if number % 5 else "FR",
            brand="visa",
            token_age_seconds=60.0 * number,
            attempts_10_minutes=number % 3,
            attempts_24_hours=number % 7,
            declines_24_hours=number % 2,
        )
