"""Signs of life of activities that may take long, so that a dead worker is noticed before their time is up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from temporalio import activity


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Beat while the block runs, where the activity was given a heartbeat timeout; else do nothing."""
    information = activity.info()
    if information.is_local or information.heartbeat_timeout is None:
        yield
        return
    beats = asyncio.create_task(_beat(information.heartbeat_timeout.total_seconds() / 4), name="heartbeats")
    try:
        yield
    finally:
        beats.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beats


async def _beat(every_seconds: float) -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(every_seconds)
