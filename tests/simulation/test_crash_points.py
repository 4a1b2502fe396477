"""A few of all places to die at, on one path of each kind; `python -m tests.simulation.crash_points` dies at each."""

from pathlib import Path

import pytest

from tests.simulation.crash_points.__main__ import survive
from tests.simulation.crash_points.paths import PATHS

NAMES = ("sale", "capture", "refund", "payout")
DEATHS = 8


@pytest.mark.timeout(300)
def test_money_moves_once_wherever_the_process_dies(scratch: Path) -> None:
    """The points are discovered, so this test need not know them; which ones it visits follows from the code."""
    paths = [path for path in PATHS if path.name in NAMES]
    verdict, report = survive(scratch / "crash-points", every=60, offset=7, paths=paths)
    assert verdict.findings == [], f"{verdict}\n{report.targets}"
    assert report.discovered > 200, "awaits of the API, activities, rails, ledger and workflows are points"
    assert report.deaths >= DEATHS // 2 and report.deaths + len(report.unreached) == len(report.targets)
