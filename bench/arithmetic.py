"""Percentiles, ratios and rates: the figures a benchmark reports, from raw samples. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence

PERCENTILES = (50, 95, 99)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile: the smallest sample that `percent` % of all are not above.

    Of 1, 2, 3, 4 the 50th is 2 and the 95th is 4. No interpolation: every figure was really measured.

    Raises:
        ValueError: there are no samples. Not retryable.
    """
    if not samples:
        raise ValueError("there is no percentile of nothing")
    assert 0 < percent <= 100
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def distribution(samples_ms: Sequence[float]) -> dict[str, float] | None:
    """Return p50, p95, p99, mean and max in milliseconds, or None when nothing was measured."""
    if not samples_ms:
        return None
    ordered = sorted(samples_ms)
    figures = {f"p{percent}": percentile(ordered, percent) for percent in PERCENTILES}
    figures |= {"mean": statistics.fmean(ordered), "max": ordered[-1]}
    return {name: rounded(figure) for name, figure in figures.items()}


def per_operation_ms(cpu_seconds: Mapping[str, float], operations: int) -> dict[str, float]:
    """Return CPU milliseconds per operation of each process, and their `total`; empty without operations.

    3.0 s of CPU for 200 operations are 15.0 ms each.
    """
    if operations == 0:
        return {}
    each = {name: seconds / operations * 1000 for name, seconds in cpu_seconds.items()}
    return {name: rounded(figure) for name, figure in (each | {"total": sum(each.values())}).items()}


def median_ratio(figures: Sequence[float | None], floors: Sequence[float | None]) -> float | None:
    """Return the median over rounds of figure / floor of the same round; None when no round has both.

    Each round is compared with its own floor, so a machine that slows down between rounds cancels out.
    """
    assert len(figures) == len(floors), "one floor a round"
    ratios = [figure / floor for figure, floor in zip(figures, floors, strict=True) if figure is not None and floor]
    return rounded(statistics.median(ratios)) if ratios else None


def rounded(figure: float) -> float:
    """Return a figure to four significant digits: more would pretend to be known."""
    if figure == 0 or not math.isfinite(figure):
        return figure
    return round(figure, 3 - math.floor(math.log10(abs(figure))))
