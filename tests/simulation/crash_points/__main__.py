"""`python -m tests.simulation.crash_points`: die at every await of the charge, refund and payout paths, and audit."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.simulation.crash_points.campaign import Campaign, Report
from tests.simulation.crash_points.paths import PATHS
from tests.simulation.crash_points.paths import Path as Way
from tests.simulation.crowd import Notebook
from tests.simulation.inspection import Inspection, Verdict
from tests.simulation.parts import running_parts, sandbox_of


def survive(folder: Path, *, every: int = 1, offset: int = 0, paths: Sequence[Way] = PATHS) -> tuple[Verdict, Report]:
    """Run a campaign on an instance of its own and audit it."""
    started = time.monotonic()
    notebook, verdict = Notebook(), Verdict(seed=0)
    with running_parts(folder / "home") as instance:
        print(f"home {folder}", flush=True)
        campaign = Campaign(instance, notebook)

        async def walk() -> None:
            try:
                await campaign.run(every=every, offset=offset, paths=paths)
                verdict.findings += notebook.complaints
                await asyncio.to_thread(Inspection(sandbox_of(instance), notebook, verdict).run)
            finally:
                await campaign.close()

        asyncio.run(walk())
    verdict.requests, verdict.retries = len({answer.key for answer in notebook.answers}), notebook.retries
    verdict.seconds = time.monotonic() - started
    return verdict, campaign.report


def main() -> int:
    """Return 0 when every point was survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.crash_points", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="die at each n-th point only")
    parser.add_argument("--offset", type=int, default=0, help="begin with this one: 0, 1, 2 of 3 make the whole")
    parser.add_argument("--list", action="store_true", help="print the points died at")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ledgerline-crash-points-"))
    folder.chmod(0o711)
    verdict, report = survive(folder, every=options.every, offset=options.offset)
    if options.list:
        print(*report.targets, sep="\n")
    print(f"{len(report.targets)} of {report.discovered} points, {report.deaths} deaths, {report.lives} lives")
    print(*(f"not reached again: {target}" for target in report.unreached), sep="\n")
    print(verdict, flush=True)
    if verdict.findings:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
