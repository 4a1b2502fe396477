"""Worlds with fixed seeds: whatever is killed and however rails lie, the books equal their truth.

`regressions.json` lists them; a seed that ever failed is added there with what it found.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import running_instance
from tests.simulation.simulate import simulate

WORLDS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("regressions.json").read_text())
if "LEDGERLINE_SIMULATION_SEED" in os.environ:
    WORLDS = [{"seed": int(os.environ["LEDGERLINE_SIMULATION_SEED"]), "operations": 150, "kills": 5, "reason": "asked"}]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: f"seed {world['seed']}")
def test_the_books_equal_the_rails_truth_after_chaos(scratch: Path, world: dict[str, Any]) -> None:
    with running_instance(scratch / f"simulation-{world['seed']}") as instance:
        verdict = simulate(instance, world["seed"], world["operations"], kills=world["kills"])
        print(verdict)
        assert verdict.findings == [], f"{world['reason']}\n{verdict}\n{instance.log_ends()}"
    assert verdict.requests >= world["operations"] // 2
    assert verdict.kills and verdict.faults, "nothing went wrong, so nothing was shown"
