"""The sandbox rails' notices, carried to the API of a test that runs in this process."""

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import httpx

from tests.api.conftest import CALLBACK_SECRET, World


def signed(body: bytes, at: float | None = None) -> dict[str, str]:
    """The headers of a notice as the rails sign it."""
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(CALLBACK_SECRET, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Rail-Signature": f"t={stamp},v1={digest}", "Content-Type": "application/json"}


async def tell(world: World, notice: dict[str, Any]) -> httpx.Response:
    """Deliver one notice."""
    body = json.dumps(notice).encode()
    path = f"/v1/rails/{notice['rail']}/callbacks"
    return await world.http.post(path, content=body, headers=signed(body))


async def notices_about(rails_url: str, object_id: str, count: int = 1) -> list[dict[str, Any]]:
    """Everything the rails have to tell about an object, once there is that much."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(100):
            truth = (await client.get(f"{rails_url}/truth")).json()
            told = [{"type": "dispute.created", **one} for one in truth["disputes"]] + truth["notices"]
            now = time.time()
            about = [one for one in told if one["rail_key"].startswith(object_id) and one["due_at"] <= now]
            if len(about) >= count:
                return about
            await asyncio.sleep(0.1)
    raise AssertionError(f"the rails tell {about} about {object_id}")
