"""`make simulate SEED=… N=…`: one simulated world on an instance of its own, and the auditor's verdict."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.e2e.instance import running_instance
from tests.simulation.simulate import simulate


def main() -> int:
    """Return 0 when the books equal the rails' truth."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--operations", type=int, default=500)
    parser.add_argument("--keep", action="store_true", help="keep the instance's home for a look afterwards")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ledgerline-simulation-"))
    folder.chmod(0o711)
    print(f"seed {options.seed}, {options.operations} operations, home {folder}", flush=True)
    with running_instance(folder / "home") as instance:
        verdict = simulate(instance, options.seed, options.operations)
    print(verdict, flush=True)
    if not (options.keep or verdict.findings):
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())
