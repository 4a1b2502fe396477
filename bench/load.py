"""The load generator: charges over HTTP from a process of its own (`python -m bench.load`).

Decides what is sent and what counts as a right answer: the page's own charge, settled, fee 158.
"""

import contextlib
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from bench.closed_loop import Cell, CellRun, Sample, run_closed_loop
from bench.http_client import HttpAnswer, KeepAliveConnection
from bench.station import RunCell, serve_station

CHARGE = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291", "rail": "auto", "capture": True}
FEE_MINOR = 158


def check_charge(answer: HttpAnswer) -> tuple[float | None, str | None]:
    """Return what the rails took in ms and None, or None and what is wrong with an answer."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None, f"{answer.status} with a body that is not JSON"
    if answer.status != 201:
        return None, f"{answer.status} {document.get('code') or document.get('status')}"
    if (document.get("status"), document.get("fee")) != ("settled", FEE_MINOR):
        return None, f"201 {document.get('status')} with fee {document.get('fee')}"
    return sum(attempt["latency_ms"] for attempt in document["attempts"]), None


class ChargeClient:
    """One client with one connection, a new idempotency key for each charge."""

    def __init__(self, api_url: str, test_key: str, keys: Iterator[str]) -> None:
        self.connection = KeepAliveConnection(api_url)
        self._authorization = f"Bearer {test_key}"
        self._keys = keys
        self._body = json.dumps(CHARGE, separators=(",", ":")).encode()

    async def __call__(self) -> Sample:
        """Make one charge; from the first byte sent to the last one read is what is timed."""
        headers = {"Authorization": self._authorization, "Idempotency-Key": next(self._keys)}
        request = self.connection.encode_post("/v1/charges", headers, self._body)
        started = time.perf_counter()
        try:
            answer = await self.connection.exchange(request)
        except (OSError, TimeoutError) as error:
            return Sample(latency_ms=(time.perf_counter() - started) * 1000, error=type(error).__name__)
        latency_ms = (time.perf_counter() - started) * 1000
        rail_ms, error_name = check_charge(answer)
        return Sample(latency_ms=latency_ms, rail_ms=rail_ms, error=error_name)


def fresh_keys() -> Iterator[str]:
    """Yield idempotency keys that no other run has used."""
    run = secrets.token_hex(6)
    return (f"bench-{run}-{number:08d}" for number in itertools.count())


@contextlib.asynccontextmanager
async def open_load(targets: dict[str, Any]) -> AsyncIterator[RunCell]:
    """Yield what runs a cell of charges against `api_url` with `test_key`."""
    keys = fresh_keys()

    async def run_cell(cell: Cell) -> CellRun:
        clients = [ChargeClient(targets["api_url"], targets["test_key"], keys) for _ in range(cell.in_flight)]
        try:
            for client in clients:
                await client.connection.open()
            return await run_closed_loop(clients, cell)
        finally:
            for client in clients:
                await client.connection.close()

    yield run_cell


if __name__ == "__main__":
    serve_station(open_load)
