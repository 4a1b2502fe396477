"""The world with a fixed seed: whatever is killed and however rails lie, the books equal their truth."""

import os
from pathlib import Path

import pytest

from tests.e2e.instance import running_instance
from tests.simulation.simulate import simulate

SEED = int(os.environ.get("LEDGERLINE_SIMULATION_SEED", "7741"))
OPERATIONS = int(os.environ.get("LEDGERLINE_SIMULATION_OPERATIONS", "150"))


@pytest.mark.timeout(600)
def test_the_books_equal_the_rails_truth_after_chaos(scratch: Path) -> None:
    with running_instance(scratch / "simulation-home") as instance:
        verdict = simulate(instance, SEED, OPERATIONS)
        print(verdict)
        assert verdict.findings == [], f"{verdict}\n{instance.log_ends()}"
    assert verdict.requests >= OPERATIONS // 2
