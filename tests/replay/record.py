"""Record golden histories: `python -m tests.replay.record [scenario …]` (all when none is named).

Runs each scenario on a real dev server with fakes of the ports and writes
`histories/<workflow>/<path>.json`. Record anew only when a workflow's wire contract is meant to change.
"""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from tests.replay.background_scenarios import ended
from tests.replay.scenarios import SCENARIOS
from tests.workflows.conftest import open_world

HISTORIES = Path(__file__).parent / "histories"
PRIVATE_FIELDS = ("identity", "binaryChecksum")
PROCESS_AND_HOST = re.compile(r"^\d+@")


async def record(names: list[str]) -> None:
    """Record the named scenarios."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        data_converter=pydantic_data_converter,
    )
    try:
        for name in names:
            async with open_world(environment) as world:
                handle = await SCENARIOS[name](world)
                await ended(handle)
                history = json.loads((await handle.fetch_history()).to_json())
            kind, _, path = name.partition("_")
            target = HISTORIES / kind / f"{path}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(anonymous(history), indent=1, sort_keys=True) + "\n")
            print(f"recorded {name}: {len(history['events'])} events")
    finally:
        await environment.shutdown()


def anonymous(value: object) -> object:
    """Return the history without what names the machine it was recorded on."""
    if isinstance(value, dict):
        return {
            name: "recorder" if name in PRIVATE_FIELDS else anonymous(inner)
            for name, inner in value.items()
            if name not in ("stickyAttributes",)
        }
    if isinstance(value, list):
        return [anonymous(inner) for inner in value]
    if isinstance(value, str) and PROCESS_AND_HOST.match(value):
        return "recorder"
    return value


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(SCENARIOS)))
    sys.stdout.flush()
    os._exit(0)
