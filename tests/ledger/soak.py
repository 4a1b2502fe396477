"""`make soak N=…`: processes post to one hot account while posters, backends, paths and PostgreSQL are killed.

A server of its own with fsync on. Harm is spread over the run by what is posted so far, not by time, so a
slow machine sees the same mixture. At the end the books are compared with what was asked for, counted
without the ledger, and with what every process was told.
"""

import argparse
import asyncio
import contextlib
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from ledger.answer import ledger_transaction_id
from ledger.invariants import check_books
from ledger.posting import Poster
from tests.conftest import DatabaseServer, TestDatabase
from tests.ledger.lossy_path import LossyPath, lossy
from tests.ledger.postings import World
from tests.ledger.soak_postings import (
    DOLLARS,
    HOT,
    MOVEMENTS_OF_TEN,
    OTHER,
    expected_of,
    key_of,
    openings,
)
from tests.ledger.soak_worker import notes_in

ROOT = Path(__file__).resolve().parents[2]
LOOK_SECONDS = 0.05
KILL_POSTER, KILL_BACKENDS, CUT, SILENCE, KILL_POSTGRES = (
    "poster killed",
    "backends terminated",
    "paths cut",
    "answers lost, then paths cut",
    "PostgreSQL killed",
)
HARMS = (KILL_POSTER, KILL_BACKENDS, CUT, SILENCE, KILL_POSTGRES, KILL_POSTER, SILENCE)


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What came of a soak; `findings` is empty when nothing was lost, doubled or moved."""

    seed: int
    movements: int = 0
    seconds: float = 0.0
    harms: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        harms = ", ".join(f"{count} × {name}" for name, count in sorted(self.harms.items()))
        ending = "\n".join(f"FINDING {one}" for one in self.findings) or "0 lost, 0 doubled, 0 drift"
        return f"seed {self.seed}: {self.movements} movements in {self.seconds:.0f} s; {harms}\n{ending}"


class Soak:
    """Workers, harm, and the comparison."""

    def __init__(self, server: DatabaseServer, database: TestDatabase, folder: Path, seed: int) -> None:
        self._server = server
        self._database = database
        self._folder = folder
        self._dice = random.Random(seed)
        self._world = World()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self.verdict = Verdict(seed=seed)

    async def run(self, *, workers: int, postings_each: int, harms: int) -> Verdict:
        """Post everything, do harm meanwhile, compare."""
        started = time.monotonic()
        await self._open_accounts()
        queue = [HARMS[number % len(HARMS)] for number in range(harms)]
        self._dice.shuffle(queue)
        async with lossy(self._database.app_url) as (path, lossy_url):
            urls = [lossy_url if worker % 2 else self._database.app_url for worker in range(workers)]
            for worker, url in enumerate(urls):
                await self._start(worker, url, postings_each)
            total, done_harms = workers * postings_each, 0
            while any(process.returncode is None for process in self._processes.values()):
                await asyncio.sleep(LOOK_SECONDS)
                await self._restart_the_killed(urls, postings_each)
                posted = sum(self._lines(worker) for worker in range(workers))
                if done_harms < len(queue) and posted * (len(queue) + 1) >= total * (done_harms + 1):
                    await self._harm(queue[done_harms], path)
                    done_harms += 1
                    print(f"{posted} of {total} postings; {queue[done_harms - 1]}", flush=True)
        await self._compare(workers, postings_each)
        self.verdict.seconds = time.monotonic() - started
        return self.verdict

    async def _open_accounts(self) -> None:
        poster = Poster(self._database.app_url)
        await poster.start()
        for posting in openings(self._world):
            assert (await poster.post(posting)).refusal is None
        await poster.stop()

    async def _start(self, worker: int, url: str, postings_each: int) -> None:
        self._processes[worker] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.ledger.soak_worker", url, self._world.merchant_id, str(worker)),
            *(str(postings_each), str(self._notes(worker))),
            cwd=ROOT,
            stderr=(self._folder / "workers.log").open("ab"),
        )

    async def _restart_the_killed(self, urls: Sequence[str], postings_each: int) -> None:
        for worker, process in list(self._processes.items()):
            if process.returncode == -signal.SIGKILL:
                await self._start(worker, urls[worker], postings_each)
            elif process.returncode:
                log = (self._folder / "workers.log").read_text()
                raise AssertionError(f"worker {worker} failed: {log[-2000:]}")

    async def _harm(self, harm: str, path: LossyPath) -> None:
        self.verdict.harms[harm] += 1
        if harm == KILL_POSTER:
            living = [process for process in self._processes.values() if process.returncode is None]
            if living:
                victim = self._dice.choice(living)
                victim.kill()
                await victim.wait()
        elif harm == KILL_BACKENDS:
            async with await psycopg.AsyncConnection.connect(self._database.admin_url, autocommit=True) as connection:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'ledgerline-poster'"
                )
        elif harm == KILL_POSTGRES:
            postgres = self._server.server.process
            assert postgres is not None
            postgres.kill()
            postgres.wait()
            self._server.server.start()
        else:
            if harm == SILENCE:
                path.swallowed.clear()
                path.swallowing = True
                # Nothing to swallow when the workers on this path are done or just being started.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(path.swallowed.wait(), 2)
            path.cut()
            path.swallowing = False

    def _notes(self, worker: int) -> Path:
        return self._folder / f"worker-{worker}.notes"

    def _lines(self, worker: int) -> int:
        notes = self._notes(worker)
        return notes.read_bytes().count(b"\n") if notes.exists() else 0

    async def _compare(self, workers: int, postings_each: int) -> None:
        expected, found, world = expected_of(workers, postings_each), self.verdict.findings, self._world
        async with await psycopg.AsyncConnection.connect(self._database.admin_url) as connection:
            cursor = await connection.execute(
                "SELECT key, id FROM ledger_transactions WHERE merchant_id = %s", (world.merchant_id,)
            )
            stored = {key: ledger_transaction_id(number) for key, number in await cursor.fetchall()}
            for worker in range(workers):
                for number, told in notes_in(self._notes(worker)).items():
                    if stored.get(key_of(world, worker, number)) != told:
                        found.append(f"{worker}:{number} was said to be {told}")
            asked = {key_of(world, worker, number) for worker in range(workers) for number in range(postings_each)}
            if lost := asked - set(stored):
                found.append(f"{len(lost)} postings are lost, {min(lost)} among them")
            cursor = await connection.execute(
                "SELECT count(*) FROM movements m JOIN ledger_transactions t ON t.id = m.ledger_transaction_id"
                " WHERE t.merchant_id = %s",
                (world.merchant_id,),
            )
            row = await cursor.fetchone()
            self.verdict.movements = row[0] - 1 if row else 0
            cursor = await connection.execute(
                "SELECT code, balance_minor, pending_debits_minor FROM accounts WHERE merchant_id = %s",
                (world.merchant_id,),
            )
            balances = {code.rsplit("/", 1)[-1]: (balance, held) for code, balance, held in await cursor.fetchall()}
            report = await check_books(connection)
        facts = {
            "movements": (self.verdict.movements, expected.movements),
            HOT: (balances[HOT], (expected.hot, expected.hot_pending)),
            OTHER: (balances[OTHER], (expected.other, 0)),
            DOLLARS: (balances[DOLLARS], (expected.dollars, 0)),
        }
        found += [f"{name} is {is_}, not {should}" for name, (is_, should) in facts.items() if is_ != should]
        found += [f"{one.kind} {one.account} {one.entry} {one.detail}" for one in report.violations[:20]]


def soak(folder: Path, seed: int, *, workers: int, movements: int, harms: int) -> Verdict:
    """Run a soak on a server of its own below `folder`. Call it from the main thread."""
    server = DatabaseServer(folder, settings={})
    server.server.start()
    try:
        database = server.create("soak")
        postings_each = -(-movements * 10 // (MOVEMENTS_OF_TEN * workers))
        return asyncio.run(
            Soak(server, database, folder, seed).run(workers=workers, postings_each=postings_each, harms=harms)
        )
    finally:
        server.server.stop()


def main() -> int:
    """Return 0 when nothing was lost, doubled or moved."""
    parser = argparse.ArgumentParser(prog="python -m tests.ledger.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--movements", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--harms", type=int, default=60)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ledgerline-soak-"))
    folder.chmod(0o711)
    verdict = soak(folder, options.seed, workers=options.workers, movements=options.movements, harms=options.harms)
    print(verdict, flush=True)
    if not verdict.findings:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())
