"""A process with a poster of its own: debits account `a` by 1, many times at once; prints how many posted."""

import asyncio
import sys

from ledger.posting import Poster
from tests.ledger.postings import World


async def debit(url: str, merchant_id: str, count: int) -> int:
    """Return how many of `count` debits were accepted."""
    world, poster = World(merchant_id=merchant_id), Poster(url, batch_max=20)
    await poster.start()
    results = await asyncio.gather(*(poster.post(world.move("a", "bank", 1)) for _ in range(count)))
    await poster.stop()
    return sum(result.refusal is None for result in results)


if __name__ == "__main__":
    print(asyncio.run(debit(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
