"""A small deluge; `python -m tests.events.deluge` is the one of 20,000."""

from pathlib import Path
from typing import Any

from tests.events.deluge import Plan, flood


async def test_rule_32_every_event_arrives_in_order_and_counts_once(
    fresh_database: Any, temporal: Any, tmp_path: Path
) -> None:
    """Eight writers, a worker killed in the middle, a receiver that fails three times in ten."""
    counted = await flood(Plan(events=160, kills=1), fresh_database.app_url, temporal.address, tmp_path)
    assert counted["events"] == 162 and counted["killed"] == 1
    assert counted["strict failures"] > 20 and counted["parallel failures"] > 20
