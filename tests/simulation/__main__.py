"""`make simulate SEED=… N=… SEEDS=…`: simulated worlds on instances of their own, and the auditor's verdict.

Seeds SEED, SEED+1, … share N operations among them; each runs in a process of its own, `--jobs` at a time.
A seed and a commit reproduce what is asked for, which faults are put in place and what is killed when.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from settings import ROOT
from tests.e2e.instance import running_instance
from tests.simulation.simulate import simulate

SEED_SECONDS_MAX = 1800


def main() -> int:
    """Return 0 when the books equal the rails' truth in every world."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--seeds", type=int, default=1, help="how many worlds")
    parser.add_argument("--operations", type=int, default=500, help="keyed requests in all")
    parser.add_argument("--kills", type=int, default=6, help="kill -9 in each world")
    parser.add_argument("--jobs", type=int, default=2, help="worlds at the same time")
    parser.add_argument("--report", type=Path, help="where the report is written as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the instance's home for a look afterwards")
    options = parser.parse_args()
    started = time.monotonic()
    reports = [_one(options)] if options.seeds == 1 else _several(options)
    report = _summary(reports, time.monotonic() - started)
    if options.report is not None:
        options.report.write_text(json.dumps({**report, "worlds": reports}, indent=2) + "\n")
    _print(report)
    return 1 if report["findings"] else 0


def _one(options: argparse.Namespace) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="ledgerline-simulation-"))
    folder.chmod(0o711)
    print(f"seed {options.seed}, {options.operations} operations, home {folder}", flush=True)
    with running_instance(folder / "home") as instance:
        verdict = simulate(instance, options.seed, options.operations, kills=options.kills)
    print(verdict, flush=True)
    if not (options.keep or verdict.findings):
        shutil.rmtree(folder, ignore_errors=True)
    return verdict.document()


def _several(options: argparse.Namespace) -> list[dict[str, Any]]:
    each = -(-options.operations // options.seeds)
    with tempfile.TemporaryDirectory(prefix="ledgerline-reports-") as name, ThreadPoolExecutor(options.jobs) as pool:

        def run(seed: int) -> dict[str, Any]:
            report = Path(name) / f"{seed}.json"
            command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--operations", str(each)]
            command += ["--kills", str(options.kills), "--report", str(report)]
            ended = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=SEED_SECONDS_MAX, check=False
            )
            if not report.exists():
                return {"seed": seed, "findings": [f"the world of seed {seed} broke: {ended.stderr[-2000:]}"]}
            world: dict[str, Any] = json.loads(report.read_text())["worlds"][0]
            said = "\n".join(f"  FINDING {finding}" for finding in world["findings"]) or "  books equal truth"
            print(f"seed {seed}: {world['requests']} requests in {world['seconds']:.0f} s\n{said}", flush=True)
            return world

        return list(pool.map(run, range(options.seed, options.seed + options.seeds)))


def _summary(reports: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    def total(name: str) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for report in reports:
            sums.update(report.get(name, {}))
        return dict(sorted(sums.items()))

    return {
        "seeds": [report["seed"] for report in reports],
        "requests": sum(report.get("requests", 0) for report in reports),
        "retries": sum(report.get("retries", 0) for report in reports),
        "events": sum(report.get("events", 0) for report in reports),
        "rail_operations": sum(report.get("rail_operations", 0) for report in reports),
        "seconds": round(seconds),
        "faults": total("faults"),
        "kills": total("kills"),
        "manners": total("manners"),
        "statuses": total("statuses"),
        "answers": total("answers"),
        "settled": total("settled"),
        "findings": [f"seed {report['seed']}: {finding}" for report in reports for finding in report["findings"]],
    }


def _print(report: dict[str, Any]) -> None:
    print(f"{len(report['seeds'])} seeds, {report['requests']} keyed requests, {report['retries']} retries, ", end="")
    print(f"{report['rail_operations']} orders at the rails, {report['events']} events, {report['seconds']} s")
    for name in ("faults", "kills", "manners", "answers", "statuses", "settled"):
        print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in report[name].items()))
    for finding in report["findings"]:
        print(f"FINDING {finding}")
    print(f"{len(report['findings'])} differences between the rails' truth and the books", flush=True)


if __name__ == "__main__":
    sys.exit(main())
