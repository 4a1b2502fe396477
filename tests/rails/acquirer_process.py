"""The sandbox's acquirer as a process, and the ISO 8583 connector on the bench before it."""

import asyncio
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx

from domain.rail import Flow, RailRequest
from embedded.processes import free_port, launch, log_tail, stop
from rails.adapter import CardDetails, RecordKeeper
from rails.adapters.iso8583.adapter import AcquirerAdapter, build
from rails.contract import Effect, RailBench
from rails.faulty_path import Fault
from rails.records import RailRecords
from tests.rails.kept_records import KeptRecords

ROOT = Path(__file__).resolve().parents[2]
CARDS = {
    "approved": "4242424242424242",
    "declined_hard": "4000000000009979",
    "declined_soft": "4000000000000002",
    "lost": "4242424242424242",
}
FAULTS = {
    "refuse": "refuse",
    "drop_before": "cut_before",
    "drop_after": "cut_after",
    "garble": "garble",
    "error500": "silent_before",
    "error500_after": "silent_after",
}


class AcquirerProcess:
    """One `python -m rails.sandbox.acquirer` with its own books, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port, self._admin_port = free_port(), free_port()
        self._process: Popen[bytes] | None = None

    def start(self) -> None:
        log = self._folder / "acquirer.log"
        self._process = launch(
            [
                *(sys.executable, "-m", "rails.sandbox.acquirer", "--port", str(self.port)),
                *("--admin-port", str(self._admin_port), "--data", str(self._folder)),
            ],
            log_path=log,
            environment={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
        )
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, log_tail(log)
            time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process, ask=signal.SIGTERM, patience_seconds=5)

    def truth(self) -> dict[str, Any]:
        return dict(self._call("GET", "/truth").json())

    def purchases_under(self, rail_key: str) -> list[dict[str, Any]]:
        return [one for one in self.truth()["purchases"] if one["rail_key"] == rail_key]

    def follows_under(self, rail_key: str) -> list[dict[str, Any]]:
        return [one for one in self.truth()["follows"] if one["rail_key"] == rail_key]

    def inject(self, kind: str, count: int = 1) -> None:
        self._call("POST", "/faults", {"kind": kind, "count": count}).raise_for_status()

    def heal(self) -> None:
        self._call("DELETE", "/faults").raise_for_status()

    def _call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return httpx.request(method, f"http://127.0.0.1:{self._admin_port}{path}", json=body, trust_env=False)

    def _answers(self) -> bool:
        try:
            return self._call("GET", "/truth").is_success
        except httpx.TransportError:
            return False


class AcquirerBench(RailBench):
    """One adapter before the acquirer. `records` outlive it, as the table outlives a worker."""

    takes_back_unknown = True

    def __init__(
        self, acquirer: AcquirerProcess, records: RailRecords | None = None, terminal: str | None = None
    ) -> None:
        # Numbers are a terminal's own, so records that begin anew belong to a new terminal.
        self.terminal = terminal or secrets.token_hex(4).upper()
        line = {"address": f"127.0.0.1:{acquirer.port}", "terminal": self.terminal, "merchant": "MERCHANT01"}
        (adapter,) = build({"name": "acquirer", **line})
        assert isinstance(adapter, AcquirerAdapter) and isinstance(adapter, RecordKeeper)
        self.adapter: AcquirerAdapter = adapter
        self.acquirer = acquirer
        self.records = records or KeptRecords()
        adapter.keep_records_in(self.records)
        self._cards: dict[str, str] = {}

    def first_flow(self) -> Flow:
        return Flow.AUTHORIZE

    def order_fields(self, fate: str) -> dict[str, object]:
        if fate == "lost":
            self.acquirer.inject("delay")
        return {"capture": True, "deadline_seconds": 0.6}

    def order(self, fate: str = "approved", **fields: object) -> RailRequest:
        request = super().order(fate, **fields)
        self._cards[request.rail_key] = CARDS[fate]
        return request

    def card(self, request: RailRequest) -> CardDetails | None:
        if request.flow is not Flow.AUTHORIZE:
            return None
        return CardDetails(number=self._cards[request.rail_key], exp_month=12, exp_year=2031)

    def effect(self, rail_key: str) -> Effect | None:
        made = self.acquirer.purchases_under(rail_key)
        assert len(made) <= 1, f"{rail_key} took effect {len(made)} times"
        return Effect(made[0]["standing"], made[0]["amount"], made[0]["calls"]) if made else None

    async def break_next_call(self, kind: Fault) -> None:
        self.acquirer.inject(FAULTS[kind])
        if kind == "refuse":
            async with asyncio.timeout(5):
                while self.adapter._link.connected:
                    await asyncio.sleep(0.005)

    async def heal(self) -> None:
        self.acquirer.heal()
