"""Faults that take time or tell untruths: outage and recovery, inquiries that lie, callbacks out of order."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from domain.rail import Flow, Outcome
from rails.registry import build_rails
from tests.rails.sandbox_process import SandboxProcess
from tests.rails.test_rail_sandbox_process import SECRET, CallbackReceiver, sale


@pytest.fixture
def rails(tmp_path: Path) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path / "rails")
    process.start()
    yield process
    process.stop()


async def test_an_inquiry_lies_inside_its_horizon_and_then_tells_the_truth(rails: SandboxProcess) -> None:
    alpha = build_rails(sandbox_url=rails.url).adapter("card_alpha")
    await alpha.execute(sale("op_lied:1"), None)
    sent_at = datetime.now(UTC)

    async def asked(age: timedelta = timedelta()) -> Outcome:
        answer = await alpha.inquire(
            flow=Flow.AUTHORIZE, rail_key="op_lied:1", sent_at=sent_at - age, deadline_seconds=2
        )
        return answer.outcome

    rails.inject(kind="lie_not_found", count=1)
    assert await asked() is Outcome.UNKNOWN, "not found is no answer inside the horizon"
    rails.inject(kind="lie_pending", count=1)
    assert await asked() is Outcome.PENDING
    rails.inject(kind="lie_not_found", count=1)
    assert await asked(timedelta(hours=1)) is Outcome.APPROVED, "who may close the key is told the truth"
    assert await asked() is Outcome.APPROVED
    assert rails.truth()["faults"] == {"lie_not_found inquire": 2, "lie_pending inquire": 1}


async def test_an_outage_ends_and_what_was_met_is_counted_across_a_kill(rails: SandboxProcess) -> None:
    alpha = build_rails(sandbox_url=rails.url).adapter("card_alpha")
    rails.inject(kind="outage", rail="card_alpha", seconds=0.5)
    assert (await alpha.execute(sale("op_out:1"), None)).outcome is Outcome.NOT_ATTEMPTED
    deadline = time.monotonic() + 10
    while (await alpha.execute(sale("op_back:1"), None)).outcome is not Outcome.APPROVED:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    met = rails.truth()["faults"]
    assert met["outage authorize"] >= 2
    rails.kill()
    rails.start()
    assert rails.truth()["faults"] == met
    with pytest.raises(httpx.HTTPStatusError):
        rails.inject(kind="outage", count=1)


async def test_callbacks_come_twice_unconfirmed_and_out_of_order(tmp_path: Path) -> None:
    receiver = CallbackReceiver(0)
    process = SandboxProcess(tmp_path / "rails", callback_url=receiver.url, callback_secret=SECRET)
    process.start()
    try:
        alpha = build_rails(sandbox_url=process.url).adapter("card_alpha")
        for kind in ("callback_late", "callback_unconfirmed", "callback_lost", "callback_twice"):
            process.inject(kind=kind, count=1, delay_ms=1500)
        for number in range(3):
            await alpha.execute(sale(f"op_told_{number}:1", "tok_disputed"), None)
        await receiver.wait_for(5)
        keys = [httpx.Response(200, content=body).json()["rail_key"] for body in receiver.bodies]
        assert set(keys) == {f"op_told_{number}:1" for number in range(3)} and len(keys) >= 5
        assert keys[0] != "op_told_0:1", "what was told late was overtaken"
        assert sum(process.truth()["faults"].values()) == 4
    finally:
        process.stop()
        receiver.close()
