"""Training of the risk model on generated traffic, and the card that says what it is.

`ledgerline risk train` calls `train`. Deterministic: the same rows and seed give the same model.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from catboost import CatBoostClassifier, Pool
from catboost.utils import eval_metric

from risk.features import FEATURE_NAMES, feature_vector
from risk.model import CARD_FILE, MODEL_FILE, model_version
from risk.traffic import FRAUD_SHARE, SPAN_DAYS, LabelledFacts, generate_traffic

SEED = 7741
ROWS = 120_000
HELD_OUT_SHARE = 0.2
"""The latest fifth of the time span is never trained on."""

PARAMETERS: dict[str, float | int | str | bool] = {
    "iterations": 120,
    "depth": 4,
    "learning_rate": 0.1,
    "l2_leaf_reg": 6.0,
    "loss_function": "Logloss",
    "monotone_constraints": "(0,0,0,1,0,0,0,1,1,1,1,1)",
    "thread_count": 1,
    "allow_writing_files": False,
    "verbose": False,
}
"""Few shallow trees: one row scores in well under a millisecond. Logloss without class weights, so
that scores are close to frequencies *in this traffic*; the card's calibration table shows how close."""

SYNTHETIC_NOTICE = (
    "Synthetic traffic of risk/traffic.py: made-up cardholders, merchants and fraud patterns. "
    "The figures say how well the model knows these patterns, not how it would fare on real cards."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a model is and how it did on the held-out end of its time span.

    `auc` is the area under the ROC curve, `average_precision` that under precision-recall, `brier` the
    mean squared error of the probability. `calibration` rows: score bin, rows, mean score, share of
    fraud. `typical_features` are medians over ordinary traffic, which reasons are measured against.
    """

    version: str
    features: tuple[str, ...]
    training: dict[str, str | int | float]
    parameters: dict[str, float | int | str | bool]
    auc: float
    average_precision: float
    brier: float
    calibration: list[dict[str, float]]
    recall_by_pattern_at_step_up: dict[str, float]
    ordinary_stepped_up_share: float
    typical_features: dict[str, float] = field(default_factory=dict)


def train(output_dir: Path, *, rows: int = ROWS, seed: int = SEED) -> ModelCard:
    """Train a model, write `model.cbm` and `model_card.json` to `output_dir`, and return the card.

    The split is by time: the model never sees the span it is measured on. 120,000 rows take around
    ten seconds of one core.

    Raises:
        ValueError: too few rows to hold a span out. Not retryable.
        OSError: the folder cannot be written. Retryable after repair.
    """
    if rows < 2_000:
        raise ValueError("training takes at least 2000 rows")
    traffic = generate_traffic(rows=rows, seed=seed)
    split = int(len(traffic) * (1 - HELD_OUT_SHARE))
    known, held_out = traffic[:split], traffic[split:]
    classifier = CatBoostClassifier(random_seed=seed, **PARAMETERS)
    classifier.fit(_pool(known))

    output_dir.mkdir(parents=True, exist_ok=True)
    model_path = output_dir / MODEL_FILE
    _forget_the_run(classifier)
    classifier.save_model(str(model_path))
    card = _describe(model_version(model_path.read_bytes()), classifier, known, held_out, seed)
    (output_dir / CARD_FILE).write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
    return card


def _forget_the_run(classifier: CatBoostClassifier) -> None:
    # Date, random id and build of the run sit in the file; without them the same training gives the
    # same bytes, so that a version names a model and not the minute it was made in.
    metadata = classifier.get_metadata()
    for name in [name for name in metadata.keys() if name not in ("class_params", "params")]:  # noqa: SIM118
        del metadata[name]


def _pool(traffic: list[LabelledFacts]) -> Pool:
    return Pool(
        [feature_vector(row.facts) for row in traffic],
        [int(row.fraud) for row in traffic],
        feature_names=list(FEATURE_NAMES),
    )


def _describe(
    version: str,
    classifier: CatBoostClassifier,
    known: list[LabelledFacts],
    held_out: list[LabelledFacts],
    seed: int,
) -> ModelCard:
    pool = _pool(held_out)
    scores = [float(pair[1]) for pair in classifier.predict_proba(pool, thread_count=1)]
    raw = classifier.predict(pool, prediction_type="RawFormulaVal", thread_count=1)
    labels = [int(row.fraud) for row in held_out]
    return ModelCard(
        version=version,
        features=FEATURE_NAMES,
        training={
            "source": SYNTHETIC_NOTICE,
            "rows": len(known),
            "held_out_rows": len(held_out),
            "seed": seed,
            "span_days": SPAN_DAYS,
            "fraud_share_aimed_at": FRAUD_SHARE,
            "trained_until": known[-1].facts.requested_at.isoformat(),
            "held_out_fraud": sum(labels),
        },
        parameters=PARAMETERS,
        auc=round(eval_metric(labels, raw, "AUC", thread_count=1)[0], 4),
        average_precision=round(eval_metric(labels, raw, "PRAUC", thread_count=1)[0], 4),
        brier=round(sum((s - y) ** 2 for s, y in zip(scores, labels, strict=True)) / len(labels), 5),
        calibration=_calibration(scores, labels),
        recall_by_pattern_at_step_up=_recall(scores, held_out),
        ordinary_stepped_up_share=_share_above(scores, held_out, "ordinary"),
        typical_features=_typical(known),
    )


def _calibration(scores: list[float], labels: list[int]) -> list[dict[str, float]]:
    table = []
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        rows = [(s, y) for s, y in zip(scores, labels, strict=True) if low <= s < high or (number == 9 and s == 1.0)]
        if rows:
            mean_score, share = (round(sum(column) / len(rows), 4) for column in zip(*rows, strict=True))
            table.append({"from": low, "to": high, "rows": len(rows), "mean_score": mean_score, "fraud_share": share})
    return table


def _recall(scores: list[float], held_out: list[LabelledFacts]) -> dict[str, float]:
    patterns = sorted({row.pattern for row in held_out} - {"ordinary"})
    return {pattern: _share_above(scores, held_out, pattern) for pattern in patterns}


def _share_above(scores: list[float], held_out: list[LabelledFacts], pattern: str) -> float:
    # 0.65 is the default policy's step-up threshold.
    of_pattern = [score for score, row in zip(scores, held_out, strict=True) if row.pattern == pattern]
    return round(sum(score >= 0.65 for score in of_pattern) / len(of_pattern), 5) if of_pattern else 0.0


def _typical(known: list[LabelledFacts]) -> dict[str, float]:
    columns = zip(*(feature_vector(row.facts) for row in known if not row.fraud), strict=True)
    medians = [sorted(column)[len(column) // 2] for column in columns]
    return {name: round(value, 6) for name, value in zip(FEATURE_NAMES, medians, strict=True)}
