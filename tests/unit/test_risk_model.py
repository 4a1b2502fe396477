"""The model really loaded, really called, and really trained; its features the same on both sides."""

import json
import math
import shutil
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from domain.identifiers import Mode
from risk.features import FEATURE_NAMES, RiskFacts, feature_vector
from risk.model import ARTIFACTS, RiskModel
from risk.traffic import generate_traffic
from risk.train import train

ORDINARY = RiskFacts(
    source="tok_x",
    mode=Mode.LIVE,
    amount_minor=3_500,
    currency="EUR",
    requested_at=datetime(2026, 3, 2, 14, tzinfo=UTC),
    merchant_country="DE",
    bin_country="DE",
    brand="visa",
    token_age_seconds=9_000_000.0,
)
CARD_TESTING = replace(
    ORDINARY,
    amount_minor=150,
    token_age_seconds=240.0,
    attempts_10_minutes=9,
    attempts_24_hours=9,
    declines_24_hours=7,
    is_new_customer=True,
)
CASH_OUT = replace(
    ORDINARY,
    amount_minor=180_000,
    requested_at=datetime(2026, 3, 2, 3, tzinfo=UTC),
    bin_country="US",
    token_age_seconds=90.0,
    is_new_customer=True,
)


@pytest.fixture(scope="module")
def model() -> RiskModel:
    return RiskModel.load()


def test_fraud_scores_high_and_ordinary_low(model: RiskModel) -> None:
    scores = [model.score(feature_vector(facts)) for facts in (ORDINARY, CASH_OUT, CARD_TESTING)]
    assert scores[0] < 0.05 < 0.65 <= scores[1] and scores[2] >= 0.90


def test_more_declines_never_look_safer(model: RiskModel) -> None:
    scores = [
        model.score(feature_vector(replace(ORDINARY, attempts_24_hours=12, declines_24_hours=declines)))
        for declines in range(13)
    ]
    assert scores == sorted(scores)


def test_reasons_name_what_carried_the_score(model: RiskModel) -> None:
    testing = model.score_with_reasons(feature_vector(CARD_TESTING))
    assert "many attempts on this card" in testing.reasons or "declined attempts on this card" in testing.reasons
    assert model.score_with_reasons(feature_vector(ORDINARY)).reasons == ("nothing unusual",)
    assert testing.value == model.score(feature_vector(CARD_TESTING))


def test_one_row_is_scored_within_the_latency_budget(model: RiskModel) -> None:
    timings = []
    for _ in range(200):
        started = time.perf_counter()
        model.score_with_reasons(feature_vector(CASH_OUT))
        timings.append(time.perf_counter() - started)
    # The median: a busy machine may stall any single call. Measured 0.1 ms; the budget is 3 ms in all.
    assert sorted(timings)[100] < 0.003


def test_features_have_their_documented_values() -> None:
    vector = dict(zip(FEATURE_NAMES, feature_vector(CARD_TESTING), strict=True))
    assert vector["amount_log10_eur"] == pytest.approx(math.log10(1 + 1.50))
    assert vector["hour_sin"] == pytest.approx(math.sin(math.tau * 14 / 24))
    assert vector["country_mismatch"] == 0.0
    assert vector["token_age_log10_hours"] == pytest.approx(math.log10(1 + 240 / 3600))
    assert vector["decline_share_24_hours"] == pytest.approx(7 / 9)
    assert all(type(value) is float for value in vector.values())
    assert dict(zip(FEATURE_NAMES, feature_vector(CASH_OUT), strict=True))["country_mismatch"] == 1.0


def test_unknown_facts_are_told_apart_from_zero() -> None:
    unknown = replace(ORDINARY, bin_country=None, brand=None, token_age_seconds=None)
    vector = dict(zip(FEATURE_NAMES, feature_vector(unknown), strict=True))
    assert (vector["country_mismatch"], vector["brand_code"], vector["token_age_log10_hours"]) == (-1.0, 0.0, -1.0)


def test_magnitude_does_not_depend_on_decimal_places() -> None:
    yen = feature_vector(replace(ORDINARY, currency="JPY", amount_minor=5_833))[0]
    assert yen == pytest.approx(feature_vector(ORDINARY)[0], abs=0.01)


def test_the_hour_is_utc_whatever_the_zone() -> None:
    elsewhere = ORDINARY.requested_at.astimezone(timezone(timedelta(hours=9)))
    assert feature_vector(replace(ORDINARY, requested_at=elsewhere)) == feature_vector(ORDINARY)


def test_traffic_is_seeded_in_order_of_time_and_holds_fraud() -> None:
    first, second = generate_traffic(rows=3_000, seed=1), generate_traffic(rows=3_000, seed=1)
    assert first == second != generate_traffic(rows=3_000, seed=2)
    instants = [row.facts.requested_at for row in first]
    assert instants == sorted(instants) and len(first) == 3_000
    assert 0.01 < sum(row.fraud for row in first) / len(first) < 0.06


def test_training_is_reproducible_and_its_model_loads(tmp_path: Path) -> None:
    cards = [train(tmp_path / name, rows=4_000, seed=3) for name in ("a", "b")]
    assert cards[0] == cards[1]
    assert cards[0].auc > 0.8
    loaded = RiskModel.load(tmp_path / "a")
    assert loaded.version == cards[0].version
    assert json.loads((tmp_path / "a" / "model_card.json").read_text()) == json.loads(json.dumps(asdict(cards[0])))


def test_the_shipped_card_is_honest_about_the_shipped_model(model: RiskModel) -> None:
    assert model.card["version"] == model.version and len(model.version) == 12
    assert "Synthetic" in model.card["training"]["source"]
    assert 0.9 < model.card["auc"] <= 1.0 and 0.0 < model.card["average_precision"] <= 1.0
    assert model.card["training"]["held_out_rows"] > 10_000
    assert sum(path.stat().st_size for path in ARTIFACTS.iterdir()) < 500_000


def test_a_model_file_that_is_not_the_cards_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ARTIFACTS, tmp_path / "swapped")
    with (tmp_path / "swapped" / "model.cbm").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="model card describes"):
        RiskModel.load(tmp_path / "swapped")


def test_too_few_rows_to_hold_a_span_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2000"):
        train(tmp_path, rows=100)
