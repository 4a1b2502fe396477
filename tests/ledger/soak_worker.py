"""A process of the soak: posts its numbers, many at a time, and writes down each one it was told has committed.

Started again after a kill it posts what it has no note of, and some of what it has: those must be found
to be there already, as they were.
"""

import asyncio
import os
import sys
from pathlib import Path

from ledger.posting import Poster
from tests.ledger.postings import World
from tests.ledger.soak_postings import posting_of

IN_FLIGHT = 200
REPEATED = 50


def notes_in(path: Path) -> dict[int, str]:
    """Return number to ledger transaction id of every whole line; a kill may have cut the last one."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return {int(number): ledger_transaction for number, ledger_transaction in (line.split() for line in lines)}


def open_notes(path: Path) -> int:
    """Return the file to append to, without a last line that a kill cut short."""
    opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    written = path.read_bytes()
    os.ftruncate(opened, written.rfind(b"\n") + 1)
    return opened


async def work(url: str, merchant_id: str, worker: int, count: int, notes: Path) -> None:
    """Post until all is posted, however often the database goes away."""
    world, known = World(merchant_id=merchant_id), notes_in(notes)
    numbers = [*list(known)[-REPEATED:], *(number for number in range(count) if number not in known)]
    places = asyncio.Semaphore(IN_FLIGHT)
    out, poster = open_notes(notes), await started(url)

    async def post(number: int) -> None:
        async with places:
            while True:
                try:
                    result = await poster.post(posting_of(world, worker, number))
                    break
                except ConnectionError:
                    await asyncio.sleep(0.1)
            assert result.refusal is None, (number, result.refusal)
            assert number not in known or result.duplicate, f"{number} was forgotten"
            os.write(out, f"{number} {result.ledger_transaction_id}\n".encode())

    async with asyncio.TaskGroup() as group:
        for number in numbers:
            group.create_task(post(number))
    await poster.stop()


async def started(url: str) -> Poster:
    """Return a running poster, once there is a database."""
    while True:
        poster = Poster(url, batch_max=64)
        try:
            await poster.start()
        except ConnectionError:
            await asyncio.sleep(0.1)
        else:
            return poster


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])))
