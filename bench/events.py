"""The events suite: posting with an event for each change beside posting without, alternating in one run.

What is posted is what a captured charge posts: its document, two movements, a signed audit record. With
events there is one more row, numbered without gaps and hashed over its predecessor, in the same commit.
Decides what is measured; only ratios within one run mean anything.
"""

import asyncio
import contextlib
import gc
import itertools
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from audit.signing import AuditSigner
from bench.arithmetic import distribution, rounded
from bench.closed_loop import Cell, CellRun, Operation, Sample, Say, run_closed_loop
from bench.cpu import CpuMeter, ProcessTree
from bench.machine import provenance
from domain.facts import ChargeCaptured
from domain.identifiers import Mode, account_code, new_identifier
from domain.ledger import AccountOpening, AuditDraft, EventDraft, Posting, Record, RecordKind
from embedded.postgres import EmbeddedPostgres
from embedded.processes import free_port
from ledger.migrate import migrate
from ledger.posting import Poster

IN_FLIGHT = (1, 16, 256)
WITH, WITHOUT = "with events", "without"
RATIO_MIN = 0.85
"""What the project promises: this share of the throughput remains, at any number in flight, with an event a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsPlan:
    """How much is measured: a cell is with or without events, at so many in flight, for so long."""

    seconds: float = 3.0
    rounds: int = 7

    @property
    def command(self) -> str:
        """The command line that measures this much."""
        return f"ledgerline bench events --seconds {self.seconds:g} --rounds {self.rounds}"


def measure_events(plan: EventsPlan, say: Say) -> dict[str, Any]:
    """Return the document of the suite. Starts a PostgreSQL server of its own, durable, and stops it."""
    with _server() as (url, pid):
        return asyncio.run(_measure(plan, url, CpuMeter({"postgresql": ProcessTree(pid)}), say))


@contextlib.contextmanager
def _server() -> Iterator[tuple[str, int]]:
    home = Path(tempfile.mkdtemp(prefix="ledgerline-bench-"))
    home.chmod(0o711)
    server = EmbeddedPostgres(home, free_port(), secrets.token_hex(16))
    try:
        server.start()
        password = secrets.token_hex(16)
        migrate(server.admin_url, app_password=password, api_password=password)
        assert server.process is not None
        yield server.url("ledgerline_app", password, "postgres"), server.process.pid
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


async def _measure(plan: EventsPlan, url: str, meter: CpuMeter, say: Say) -> dict[str, Any]:
    poster = Poster(url, sign=AuditSigner(Ed25519PrivateKey.generate()).sign)
    await poster.start()
    changes = _Changes(new_identifier("mer"))
    await poster.post(changes.opening())
    rows: dict[tuple[int, str], list[_Run]] = {}
    for round_number, in_flight in itertools.product(range(plan.rounds), IN_FLIGHT):
        # Each comes first as often as the other: a server warms up and disks fill within a round.
        for case in (WITH, WITHOUT) if round_number % 2 else (WITHOUT, WITH):
            await _loop(poster, changes, Cell(case=case, in_flight=in_flight, seconds=min(0.3, plan.seconds)))
            meter.restart()
            run, python = await _loop(poster, changes, Cell(case=case, in_flight=in_flight, seconds=plan.seconds))
            spent, _ = meter.spent()
            cpu_ms = 1_000 * (python + spent["postgresql"]) / len(run.latencies_ms)
            rows.setdefault((in_flight, case), []).append(_Run(run=run, cpu_ms=cpu_ms))
            say(f"{in_flight} in flight, {case}: {rows[in_flight, case][-1].per_second:.0f}/s, {cpu_ms:.3f} ms of CPU")
    await poster.stop()
    return {
        "suite": "events",
        **provenance(plan.command),
        "promise": RATIO_MIN,
        "cells": [_cell(in_flight, rows) for in_flight in IN_FLIGHT],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One cell: what it measured, and the CPU of poster and PostgreSQL together, in ms a change."""

    run: CellRun
    cpu_ms: float

    @property
    def per_second(self) -> float:
        return len(self.run.latencies_ms) / self.run.elapsed_seconds


def _cell(in_flight: int, rows: dict[tuple[int, str], list[_Run]]) -> dict[str, Any]:
    having, lacking = rows[in_flight, WITH], rows[in_flight, WITHOUT]
    pairs = list(zip(having, lacking, strict=True))
    ratios = [one.per_second / other.per_second for one, other in pairs]
    return {
        "in_flight": in_flight,
        **{
            case: {
                "per_second": rounded(statistics.median(one.per_second for one in runs)),
                "latency_ms": distribution([latency for one in runs for latency in one.run.latencies_ms]),
                "cpu_ms": rounded(statistics.median(one.cpu_ms for one in runs)),
            }
            for case, runs in ((WITH, having), (WITHOUT, lacking))
        },
        "ratio": rounded(statistics.median(ratios)),
        "ratios": [rounded(ratio) for ratio in ratios],
        # Where others use the machine too, this is the steadier figure.
        "cpu_ratio": rounded(statistics.median(other.cpu_ms / one.cpu_ms for one, other in pairs)),
    }


async def _loop(poster: Poster, changes: "_Changes", cell: Cell) -> tuple[CellRun, float]:
    # Made beforehand, as far as they fit, and nothing the collector walks: what a client thinks up is not the
    # ledger's work.
    ahead = [changes.charge(with_event=cell.case == WITH) for _ in range(int(6_000 * cell.seconds))]
    gc.collect()
    gc.freeze()
    made = itertools.chain(ahead, (changes.charge(with_event=cell.case == WITH) for _ in itertools.count()))

    async def post() -> Sample:
        posting = next(made)
        started = time.perf_counter()
        result = await poster.post(posting)
        assert result.refusal is None and not result.duplicate
        return Sample(latency_ms=1_000 * (time.perf_counter() - started))

    clients: list[Operation] = [post] * cell.in_flight
    python = time.process_time()
    run = await run_closed_loop(clients, cell)
    python = time.process_time() - python
    gc.unfreeze()
    return run, python


class _Changes:
    """State changes of one merchant, as the product posts them."""

    def __init__(self, merchant_id: str) -> None:
        self._merchant_id = merchant_id

    def opening(self) -> Posting:
        """Return the posting that opens the merchant's account."""
        code = account_code(self._merchant_id, Mode.TEST, "acct_shop")
        opened = AccountOpening(
            code=code, currency="EUR", kind="merchant", merchant_id=self._merchant_id, mode=Mode.TEST
        )
        return Posting(
            key="open",
            merchant_id=self._merchant_id,
            mode=Mode.TEST,
            audit=AuditDraft(actor="bench", action="account.created", object_id=code),
            accounts=(opened,),
        )

    def charge(self, *, with_event: bool) -> Posting:
        """Return the posting of a charge that a rail took."""
        charge_id = new_identifier("ch")
        fact = ChargeCaptured(
            charge_id=charge_id, account="acct_shop", rail="alpha", amount_minor=8420, fee_minor=158, currency="EUR"
        )
        record = Record(kind=RecordKind.CHARGE, id=charge_id, version=2, document=_document(charge_id))
        draft = EventDraft(type="charge.settled", object_id=charge_id, version=2)
        return Posting(
            key=f"{charge_id}:2",
            merchant_id=self._merchant_id,
            mode=Mode.TEST,
            audit=AuditDraft(actor="workflow", action="charge.settled", object_id=charge_id, details={"version": 2}),
            facts=(fact,),
            records=(record,),
            events=(draft,) if with_event else (),
        )


def _document(charge_id: str) -> dict[str, Any]:
    """Return a charge as it is shown after two attempts: about 1.4 KB, as the sandbox's are."""
    attempts = [
        {
            "number": number,
            "rail": rail,
            "outcome": outcome,
            "decline_code": None,
            "decline_class": None,
            "latency_ms": 41.27,
            "cost_estimate": 97,
        }
        for number, (rail, outcome) in enumerate((("beta", "not_attempted"), ("alpha", "approved")), 1)
    ]
    route = [
        {
            "rail": rail,
            "utility": -97.25 - rank,
            "landed_cost": 96.83,
            "approval_probability": 0.9312,
            "settlement_seconds": 86_400.0,
            "reason": "utility",
        }
        for rank, rail in enumerate(("beta", "alpha", "gamma"))
    ]
    return {
        **{"id": charge_id, "object": "charge", "status": "settled", "amount": 8420, "amount_captured": 8420},
        **{"currency": "EUR", "fee": 158, "net": 8262, "rail": "alpha", "account": "acct_shop"},
        **{"source": "tok_visa_4291", "capture": True, "customer": None, "description": "Order 7741"},
        **{"metadata": {"order": "ord_7741"}, "return_url": None, "next_action": None, "next_check_at": None},
        "risk": {"score": 0.0312, "decision": "allow", "model_version": "m1", "reasons": ["amount", "hour"]},
        "attempts": attempts,
        "route": route,
        **{"decline_code": None, "decline_class": None, "capture_before": None, "livemode": False},
        **{"workflow_id": f"mer/test/{charge_id}", "created_at": "2026-11-26T10:15:00.000000Z"},
    }


def print_events(document: dict[str, Any], console: Console) -> None:
    """Print what was measured."""
    table = Table(title="State changes a second, closed loop", title_justify="left")
    for name in ("in flight", WITH, WITHOUT, "ratio", "CPU ratio", "p50 ms, with / without", "p95 ms"):
        table.add_column(name, justify="right")
    for row in document["cells"]:
        with_, without = row[WITH], row[WITHOUT]
        table.add_row(
            str(row["in_flight"]),
            str(with_["per_second"]),
            str(without["per_second"]),
            str(row["ratio"]),
            str(row["cpu_ratio"]),
            *(f"{with_['latency_ms'][name]} / {without['latency_ms'][name]}" for name in ("p50", "p95")),
        )
    console.print(table)
