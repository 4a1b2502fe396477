"""Scoring one charge with the trained model, with reasons drawn from the model itself.

Decides a score and which facts carried it. Decides no threshold: `risk/policy.py` does.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catboost import CatBoostClassifier

from risk.features import FEATURE_NAMES

ARTIFACTS = Path(__file__).parent / "artifacts"
MODEL_FILE = "model.cbm"
CARD_FILE = "model_card.json"
REASONS_MAX = 3
CONTRIBUTION_MIN = 0.5
"""Log-odds below which a group of features is no reason."""

NOTHING_UNUSUAL = "nothing unusual"

REASON_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("amount unusual", ("amount_log10_eur",)),
    ("unusual hour", ("hour_sin", "hour_cos")),
    ("card and merchant are of different countries", ("country_mismatch",)),
    ("token created shortly before", ("token_age_log10_hours",)),
    ("many attempts on this card", ("attempts_10_minutes", "attempts_24_hours")),
    ("declined attempts on this card", ("declines_24_hours", "decline_share_24_hours")),
    ("new customer", ("is_new_customer",)),
    ("unusual brand or currency", ("brand_code", "currency_code")),
)
"""Groups of features that mean one thing to a person, and what that is."""


@dataclass(frozen=True, slots=True)
class Score:
    """A probability of fraud in [0, 1] and at most `REASONS_MAX` reasons, strongest first."""

    value: float
    reasons: tuple[str, ...]


class RiskModel:
    """A loaded model. Scores one row on the calling thread; safe to share between threads."""

    def __init__(self, classifier: CatBoostClassifier, card: dict[str, Any], version: str) -> None:
        self._classifier = classifier
        self.card = card
        self.version = version
        typical = card["typical_features"]
        self._replacements = [
            [(FEATURE_NAMES.index(name), float(typical[name])) for name in names] for _, names in REASON_GROUPS
        ]

    @classmethod
    def load(cls, path: Path = ARTIFACTS) -> "RiskModel":
        """Return the model in folder `path` (`model.cbm` and `model_card.json`), warmed up.

        Raises:
            ValueError: the card is of another model, or the model wants other features. Not retryable.
            OSError: a file cannot be read. Not retryable without repair.
        """
        card = json.loads((path / CARD_FILE).read_text(encoding="utf-8"))
        model_bytes = (path / MODEL_FILE).read_bytes()
        version = model_version(model_bytes)
        if card["version"] != version:
            raise ValueError(f"model card describes {card['version']}, the model file is {version}")
        classifier = CatBoostClassifier()
        classifier.load_model(blob=model_bytes)
        if tuple(classifier.feature_names_) != FEATURE_NAMES:
            raise ValueError("the model was trained on other features than this code computes")
        model = cls(classifier, card, version)
        # The first call allocates; no customer should wait for it.
        model.score([0.0] * len(FEATURE_NAMES))
        return model

    def score(self, features: Sequence[float]) -> float:
        """Return the probability of fraud in [0, 1] for one row in the order of `FEATURE_NAMES`."""
        assert len(features) == len(FEATURE_NAMES)
        return _sigmoid(self._classifier.predict(list(features), prediction_type="RawFormulaVal", thread_count=1))

    def score_with_reasons(self, features: Sequence[float]) -> Score:
        """Return the score and what carried it.

        A group's contribution is how far the log-odds fall when its features are put back to those of
        an ordinary charge: one batch of 1 + groups rows, no second model and no approximation of it.
        """
        assert len(features) == len(FEATURE_NAMES)
        rows = [list(features)]
        for replacements in self._replacements:
            row = list(features)
            for index, typical in replacements:
                row[index] = typical
            rows.append(row)
        raw = [
            float(value) for value in self._classifier.predict(rows, prediction_type="RawFormulaVal", thread_count=1)
        ]
        contributions = [(raw[0] - without, words) for without, (words, _) in zip(raw[1:], REASON_GROUPS, strict=True)]
        contributions.sort(reverse=True)
        reasons = tuple(words for amount, words in contributions[:REASONS_MAX] if amount >= CONTRIBUTION_MIN)
        return Score(_sigmoid(raw[0]), reasons or (NOTHING_UNUSUAL,))


def model_version(model_bytes: bytes) -> str:
    """Return the version of a model file: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(model_bytes).hexdigest()[:12]


def _sigmoid(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds >= 0 else 1.0 - 1.0 / (1.0 + math.exp(log_odds))
