"""The campaign: find every point, die at each, come back, and let the auditor compare the books with the world.

A life is one forked API process: it serves what earlier deaths left behind, gets one armed point and one path,
and dies there. Clients repeat their requests with the same key until they have an answer, whoever gives it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import httpx

from embedded.instance import Instance
from settings import ROOT
from tests.simulation.crash_points.paths import ACCOUNT, ACCOUNT_FUNDS_MINOR, PATHS, Path
from tests.simulation.crowd import Client, Notebook
from tests.simulation.parts import environment_of

READY_SECONDS_MAX = 60.0
DEATH_SECONDS_MAX = 20.0
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 600.0
WALKERS_MAX = 12
"""So many paths may be under way at once; then a life is left alone until all have come to an end."""
OCCURRENCES_MAX = 3
"""How often one point is died at within one path: the second round trip of the poster is another effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One death: on this path, at the n-th crossing of this point."""

    path: Path
    point: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.path.name}: {self.point} #{self.occurrence}"


@dataclass(slots=True)
class Report:
    """What came of the campaign."""

    discovered: int = 0
    targets: list[Target] = field(default_factory=list)
    deaths: int = 0
    unreached: list[str] = field(default_factory=list)
    lives: int = 0


class Lives:
    """The API process of an instance, again and again."""

    def __init__(self, instance: Instance) -> None:
        self._address = instance.api_url
        self._folder = instance.home.folder
        self._control = self._folder / "crash.sock"
        log = (self._folder / "logs" / "crashing-api.log").open("ab")
        command = [sys.executable, "-m", "tests.simulation.crash_points.zygote", str(self._control)]
        self._zygote = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment_of(instance),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self.pid = 0

    async def begin(self) -> None:
        """Fork a life and return when it serves."""
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        self._zygote.stdin.write("live\n")
        self._zygote.stdin.flush()
        self.pid = int(await asyncio.to_thread(self._zygote.stdout.readline))
        deadline = time.monotonic() + READY_SECONDS_MAX
        async with httpx.AsyncClient(trust_env=False, timeout=2) as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"{self._address}/readyz")).is_success:
                        return
                assert time.monotonic() < deadline, "the API did not come back"
                await asyncio.sleep(LOOK_SECONDS)

    def is_alive(self) -> bool:
        """Tell whether the present life goes on; the zygote reaps at the next one."""
        try:
            return FilePath(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def end(self) -> None:
        """Kill the present life, if it is one still, and return when it is over."""
        if self.is_alive():
            os.kill(self.pid, signal.SIGKILL)
        while self.is_alive():
            time.sleep(LOOK_SECONDS)

    async def order(self, **order: Any) -> Any:
        """Give the instrumented process an order and return its answer."""
        reader, writer = await asyncio.open_unix_connection(str(self._control))
        writer.write(json.dumps(order).encode() + b"\n")
        answer = await reader.readline()
        writer.close()
        return json.loads(answer)

    def close(self) -> None:
        """End it all."""
        self.end()
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait(10)


class Campaign:
    """Deaths on the paths of money of one instance; every answer goes into the notebook for the audit."""

    def __init__(self, instance: Instance, notebook: Notebook) -> None:
        self.report = Report()
        self._notebook = notebook
        self._lives = Lives(instance)
        self._last_words = instance.home.folder / "last-words"
        self._client = Client(
            lambda: instance.api_url, instance.secrets.test_key, notebook, patience_seconds=PATIENCE_SECONDS
        )
        self._walkers: set[asyncio.Task[None]] = set()

    async def run(self, *, every: int = 1, offset: int = 0, paths: Sequence[Path] = PATHS) -> None:
        """Discover all points, then die at each `every`-th of them, beginning with the `offset`-th."""
        await self._live()
        await self._client.post("/accounts", {"id": ACCOUNT, "currency": "EUR"}, "crash_account")
        await self._client.post(f"/accounts/{ACCOUNT}/fund", {"amount": ACCOUNT_FUNDS_MINOR}, "crash_funds")
        targets = await self._discover(paths)
        self.report.discovered = len(targets)
        self.report.targets = targets[offset::every]
        for number, target in enumerate(self.report.targets):
            await self._die_at(target, f"crash_{number}")
        await self._rest()
        if not self._lives.is_alive():
            await self._live()

    def _arrived(self, target: Target, walker: "asyncio.Task[None]") -> None:
        self._walkers.discard(walker)
        if walker.exception() is not None:
            self._notebook.complaints.append(f"{target} never came to its end: {walker.exception()!r}")

    async def _rest(self) -> None:
        """Live without dying until what earlier deaths interrupted has gone on to its end."""
        while self._walkers:
            await asyncio.wait(self._walkers, timeout=1.0)
            if not self._lives.is_alive():
                await self._live()

    async def close(self) -> None:
        """Give everything back."""
        await self._client.close()
        self._lives.close()

    async def _live(self) -> None:
        await self._lives.begin()
        self.report.lives += 1

    async def _discover(self, paths: Sequence[Path]) -> list[Target]:
        """Walk every path unharmed and note what was crossed on it and is not crossed when nothing happens."""
        await asyncio.sleep(1.0)
        idle = {point for point, _ in await self._lives.order(take=True)}
        seen: dict[tuple[str, str], int] = {}
        targets = []
        for number, path in enumerate(paths):
            key = f"discovery_{number}"
            context = await path.prepare(self._client, key) if path.prepare else {}
            await self._lives.order(take=True)
            await path.act(self._client, key, context)
            for point, count in await self._lives.order(take=True):
                if point in idle:
                    continue
                known = seen.get((path.kind, point), 0)
                most = min(count, OCCURRENCES_MAX)
                targets += [Target(path=path, point=point, occurrence=n) for n in range(known + 1, most + 1)]
                seen[path.kind, point] = max(known, most)
        return targets

    async def _die_at(self, target: Target, key: str) -> None:
        while True:
            if not self._lives.is_alive():
                await self._live()
            context = await target.path.prepare(self._client, key) if target.path.prepare else {}
            if len(self._walkers) >= WALKERS_MAX:
                await self._rest()
            self._last_words.unlink(missing_ok=True)
            # A life that wrote its last words may be seen alive for a moment, and is then gone before it is armed.
            with contextlib.suppress(ConnectionError, FileNotFoundError, ValueError):
                await self._lives.order(
                    arm=target.point, occurrence=target.occurrence, last_words=str(self._last_words)
                )
                break
        walker = asyncio.create_task(target.path.act(self._client, key, context))
        self._walkers.add(walker)
        walker.add_done_callback(lambda done: self._arrived(target, done))
        deadline = time.monotonic() + DEATH_SECONDS_MAX
        while self._lives.is_alive() and not walker.done() and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(LOOK_SECONDS)
        if not self._last_words.exists():
            self.report.unreached.append(str(target))
            self._lives.end()
        else:
            self._lives.end()
            self.report.deaths += 1
