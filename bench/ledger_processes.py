"""One process beside four that post to the same hot account: what taking turns costs."""

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from bench.arithmetic import rounded
from bench.ledger_contenders import OurLedger

ROOT = Path(__file__).resolve().parent.parent
IN_FLIGHT = 1_024
PROCESSES = 4
ROUNDS = 3


async def measure_processes(url: str, *, seconds: float, accounts: int) -> dict[str, Any]:
    """Return movements per second of one process and of four together, alternating, and the ratio by round."""
    ledger = OurLedger(url)
    await ledger.open(accounts)
    rounds = []
    for _ in range(ROUNDS):
        one, four = [await _together(url, ledger, count, seconds, accounts) for count in (1, PROCESSES)]
        rounds.append({"one": rounded(one), "four": rounded(four), "ratio": rounded(four / one)})
    await ledger.close()
    ratios = sorted(row["ratio"] for row in rounds)
    return {"rounds": rounds, "in_flight": IN_FLIGHT, "ratio": ratios[len(ratios) // 2]}


async def _together(url: str, ledger: OurLedger, count: int, seconds: float, accounts: int) -> float:
    """Return what `count` processes post a second, together, all beginning at the same moment."""
    begin = time.time() + 1.5 + 0.5 * count
    arguments = [url, ledger.merchant_id, str(accounts), str(IN_FLIGHT // count), str(seconds), str(begin)]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.ledger_processes", *arguments), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(count)
    ]
    answers = [(await process.communicate())[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), "a posting process failed"
    return float(sum(json.loads(answer)["per_second"] for answer in answers))


async def _post(url: str, merchant_id: str, accounts: int, in_flight: int, seconds: float, begin: float) -> None:
    ledger = OurLedger(url, merchant_id=merchant_id)
    await ledger.attach(accounts)
    chance, posted = random.Random(), 0
    await asyncio.sleep(max(0.0, begin - time.time()))
    started = time.perf_counter()

    async def client() -> None:
        nonlocal posted
        while time.perf_counter() - started < seconds:
            await ledger.pay(((chance.randrange(1, accounts), 0, 100),))
            posted += 1

    await asyncio.gather(*(client() for _ in range(in_flight)))
    print(json.dumps({"per_second": posted / (time.perf_counter() - started)}))
    await ledger.close()


if __name__ == "__main__":
    _, where, merchant, *numbers = sys.argv
    asyncio.run(_post(where, merchant, int(numbers[0]), int(numbers[1]), float(numbers[2]), float(numbers[3])))
