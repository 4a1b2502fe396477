"""Two card processors nobody here wrote, as processes: localstripe, and npm's stripe-stateful-mock.

localstripe ignores idempotency keys and refunds more than was charged; the mock keeps idempotency keys and can
lose a charge it said yes to.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from embedded.processes import free_port, launch, log_tail, stop
from tests.node_peers import node_environment, npm_program

KEY = "sk_test_of_these_tests"


@dataclass(frozen=True)
class StripePeer:
    """A counterpart and its own books. `api` is the surface it knows."""

    name: str
    url: str
    api: str
    idempotent: bool

    @property
    def collection(self) -> str:
        return f"/v1/{self.api}"

    def call(self, method: str, path: str, **fields: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, trust_env=False, **fields)

    def listed(self, collection: str) -> list[dict[str, Any]]:
        """Everything of a collection, in the peer's own words."""
        found: list[dict[str, Any]] = []
        while True:
            after = f"&starting_after={found[-1]['id']}" if found else ""
            page = self.call("GET", f"{collection}?limit=100{after}").raise_for_status().json()
            found.extend(page["data"])
            if not page["has_more"]:
                return found

    def made_under(self, rail_key: str) -> list[dict[str, Any]]:
        """What the peer says was made under a key of ours: one is right, two are a double charge."""
        return [one for one in self.listed(self.collection) if one["metadata"].get("rail_key") == rail_key]

    def refunds_under(self, rail_key: str) -> list[dict[str, Any]]:
        return [one for one in self.listed("/v1/refunds") if one["metadata"].get("rail_key") == rail_key]


@contextmanager
def localstripe(folder: Path) -> Iterator[StripePeer]:
    """localstripe on a free port, without what an earlier one remembered."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "localstripe"), "--port", str(port), "--from-scratch"]
    peer = StripePeer("localstripe", f"http://127.0.0.1:{port}", "payment_intents", idempotent=False)
    with _running(peer, command, folder / "localstripe.log", dict(os.environ)):
        yield peer


@contextmanager
def stateful_mock(folder: Path) -> Iterator[StripePeer]:
    """stripe-stateful-mock on a free port."""
    port = free_port()
    peer = StripePeer("stripe-stateful-mock", f"http://127.0.0.1:{port}", "charges", idempotent=True)
    environment = {**node_environment(), "PORT": str(port), "LOG_LEVEL": "silent"}
    with _running(peer, npm_program("stripe-stateful-mock"), folder / "stripe_mock.log", environment):
        yield peer


@contextmanager
def _running(peer: StripePeer, command: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    process = launch(command, log_path=log, environment=environment, cwd=log.parent)
    try:
        deadline = time.monotonic() + 30
        while not _answers(peer):
            assert process.poll() is None and time.monotonic() < deadline, log_tail(log)
            time.sleep(0.05)
        yield
    finally:
        stop(process, ask=signal.SIGTERM, patience_seconds=5)


def _answers(peer: StripePeer) -> bool:
    try:
        return peer.call("GET", f"{peer.collection}?limit=1").is_success
    except httpx.TransportError:
        return False
