"""The rail toy under Ledgerline's contract suite."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from ledgerline_rail_toy.adapter import build

from domain.rail import Flow
from rails.contract import CONTRACT, Effect, RailBench
from rails.faulty_path import Fault, FaultyPath

TOKENS = {
    "approved": "tok_fine",
    "declined_hard": "tok_declined_hard",
    "declined_soft": "tok_declined_soft",
    "lost": "tok_fine",
}


class ToyBench(RailBench):
    """The rail on the bench, behind a path that breaks on demand."""

    def __init__(self, server_url: str, path: FaultyPath) -> None:
        (self.adapter,) = build({"url": path.url})
        self._server_url = server_url
        self._path = path

    def first_flow(self) -> Flow:
        """The flow that stands on its own."""
        return Flow.AUTHORIZE

    def order_fields(self, fate: str) -> dict[str, object]:
        """The source that meets this fate."""
        if fate == "lost":
            self._path.delay_next()
        return {"source": TOKENS[fate], "capture": True}

    def effect(self, rail_key: str) -> Effect | None:
        """What the rail says it did."""
        answer = httpx.get(f"{self._server_url}/orders/{quote(rail_key, safe='')}", trust_env=False)
        if answer.status_code == 404:
            return None
        order = answer.json()
        return Effect(order["state"], order["amount"], order["calls"])

    async def break_next_call(self, kind: Fault) -> None:
        """Break the next order for real."""
        await self._path.break_next(kind)

    async def heal(self) -> None:
        """Let the next order through."""
        await self._path.heal()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A toy server of its own."""
    command = [sys.executable, str(Path(__file__).parent / "toy_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.kill()


@pytest.fixture
async def bench(server_url: str) -> AsyncIterator[ToyBench]:
    """The rail behind a path of its own."""
    path = FaultyPath(server_url)
    await path.start()
    bench = ToyBench(server_url, path)
    yield bench
    await bench.adapter.aclose()
    await path.stop()


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
async def test_toy_keeps_contract(bench: ToyBench, rule: Callable[[RailBench], Awaitable[None]]) -> None:
    """Every rule that every rail keeps."""
    await rule(bench)
