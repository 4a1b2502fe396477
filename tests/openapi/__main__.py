"""`python -m tests.openapi --examples N --seed S`: schemathesis at length on an instance of its own."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.e2e.instance import running_instance
from tests.openapi.probe import probe


def main() -> int:
    """Return 0 when no check failed, for a merchant's key and for an administrator's."""
    parser = argparse.ArgumentParser(prog="python -m tests.openapi", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ledgerline-openapi-"))
    folder.chmod(0o711)
    failed = 0
    with running_instance(folder / "home") as instance:
        for admin in (False, True):
            ended = probe(
                instance.sandbox,
                folder,
                seed=options.seed,
                examples=options.examples,
                phases=options.phases,
                admin=admin,
            )
            print(ended.stdout, ended.stderr, flush=True)
            failed |= ended.returncode
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
