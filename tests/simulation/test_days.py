"""Forty days of a seeded world in seconds: what expires expires, what nobody knows stays asked, and the books agree."""

from pathlib import Path

import pytest

from tests.simulation.days import address_of, let_days_pass, skipping_server
from tests.simulation.parts import running_parts


@pytest.mark.timeout(300)
async def test_forty_days_later_the_books_equal_the_rails_truth(scratch: Path) -> None:
    async with skipping_server() as environment:
        with running_parts(scratch / "days-home", temporal_address=address_of(environment)) as instance:
            verdict = await let_days_pass(instance, environment, seed=41, operations=30)
    assert verdict.findings == [], verdict
    assert verdict.statuses["charge expired"] >= 3 and verdict.statuses["transfer expired"] == 3
