"""SEPA and ACH payouts through a whole instance while the way to the bank breaks: `python -m tests.e2e.bank_storm`.

Then the bank's own books are compared with ours: every payout is at the bank at most once, and what it booked,
rejected and returned is what the payouts say.
"""

import argparse
import asyncio
import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rails.adapters.ach.wire import identification_of
from rails.faulty_path import Fault, FaultyPath
from rails.iso20022.references import reference_of
from tests.e2e.instance import API, LedgerlineInstance, running_instance
from tests.e2e.shop import Shop
from tests.rails.mock_bank import CLOSED, DEBTOR, ELSEWHERE, MockBank

CLIENTS = 6
END_SECONDS_MAX = 420.0
FAULTS: tuple[Fault, ...] = ("drop_after", "garble", "error500_after", "drop_after", "drop_before")
ACH_ELSEWHERE = {"routing_number": "091000019", "account_number": "4711123456"}
ACH_CLOSED = {"routing_number": "999999992", "account_number": "0000000003"}


@dataclass(slots=True)
class StormReport:
    """What was done to the way, and what came of the payouts. `findings` is empty when all is well."""

    payouts: int
    seconds: float = 0.0
    faults_armed: dict[str, int] = field(default_factory=dict)
    kills: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stage:
    """An instance with two bank rails, the banks behind them, and the ways that break."""

    instance: LedgerlineInstance
    banks: dict[str, MockBank]
    ways: "BreakingWays"


class BreakingWays:
    """Faulty paths to the banks in an event loop of their own; files meet a fault now and then until `calm`."""

    def __init__(self, banks: dict[str, MockBank], seed: int) -> None:
        self.faults: Counter[str] = Counter()
        self.calm = threading.Event()
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        # Only files break here, not questions: what is asked again and again would only be slower.
        marks = {"sepa_credit": b"CstmrCdtTrfInitn", "ach": b"PAYOUT"}
        self._paths = {name: FaultyPath(bank.url, only=marks[name]) for name, bank in banks.items()}
        for path in self._paths.values():
            asyncio.run_coroutine_threadsafe(path.start(), self._loop).result(10)
            asyncio.run_coroutine_threadsafe(self._break(path), self._loop)

    def url(self, name: str) -> str:
        return self._paths[name].url

    def stop(self) -> None:
        self.calm.set()
        for path in self._paths.values():
            asyncio.run_coroutine_threadsafe(path.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _break(self, path: FaultyPath) -> None:
        while not self.calm.is_set():
            fault = self._chance.choice(FAULTS)
            await path.break_next(fault)
            self.faults[fault] += 1
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
        await path.heal()


@contextmanager
def bank_stage(folder: Path, seed: int) -> Iterator[Stage]:
    """Start two banks and an instance that pays through them."""
    home = folder / "home"
    home.mkdir(parents=True)
    clock = time.strftime("%Y-%m-%dT16:00", time.gmtime())
    banks: dict[str, MockBank] = {}
    for name in ("sepa_credit", "ach"):
        (folder / name).mkdir()
        banks[name] = MockBank(folder / name, clock=clock)
    banks["sepa_credit"].account(balance=10**12)
    banks["ach"].account(format="nacha", currency="USD", balance=10**12)
    ways = BreakingWays(banks, seed)
    often = {"deadline_seconds": "5", "ask_after_seconds": "1,2,4" + ",4" * 100}
    lines = {
        "sepa_credit": {"debtor_iban": DEBTOR, "debtor_name": "Ledgerline GmbH", **often},
        "ach": {"routing_number": "999999992", "company_id": "0000000001", "company_name": "Ledgerline Inc", **often},
    }
    written = [
        f"{name} = {{ "
        + ", ".join(
            f"{key} = {json.dumps(value)}" for key, value in banks[name].line(url=ways.url(name), **more).items()
        )
        + " }\n"
        for name, more in lines.items()
    ]
    (home / "rails.toml").write_text("".join(written))
    try:
        with running_instance(home) as instance:
            yield Stage(instance, banks, ways)
    finally:
        ways.stop()
        for bank in banks.values():
            bank.stop()


def storm(stage: Stage, payouts: int, *, kills: int) -> StormReport:
    """Order so many payouts, kill the worker meanwhile, wait until all ended, and compare the books."""
    started = time.monotonic()
    report = StormReport(payouts=payouts)
    shop = Shop(stage.instance.sandbox["api_url"], stage.instance.sandbox["test_key"])
    sources = {currency: shop.account(currency=currency, funds=10_000_000) for currency in ("EUR", "USD")}
    ids: list[str] = []
    every = max(1, payouts // (kills + 1))
    with ThreadPoolExecutor(CLIENTS) as clients:
        for start in range(0, payouts, every):
            numbers = range(start, min(start + every, payouts))
            ids += clients.map(lambda number: _order(shop, sources, number), numbers)
            if report.kills < kills:
                stage.instance.await_restart(API, stage.instance.kill_part(API))
                report.kills += 1
    stage.ways.calm.set()
    for bank in stage.banks.values():
        bank.behave("return-later", days=1, reason="R02" if bank is stage.banks["ach"] else "AC04")
        bank.advance(5)
    ended = _await_end(stage, shop, ids, started + END_SECONDS_MAX)
    report.statuses = dict(Counter(f"{payout['rail']} {payout['status']}" for payout in ended))
    report.faults_armed = dict(stage.ways.faults)
    _compare(stage, report, shop, sources, ended)
    shop.close()
    report.seconds = round(time.monotonic() - started, 1)
    return report


def _order(shop: Shop, sources: dict[str, str], number: int) -> str:
    closed = number % 10 == 9
    if number % 2:
        where = {"type": "ach", "name": "Ada", **(ACH_CLOSED if closed else ACH_ELSEWHERE)}
        body = {"currency": "USD", "rail": "ach", "destination": where}
    else:
        where = {"type": "iban", "name": "Ada", "iban": CLOSED if number % 10 == 8 else ELSEWHERE}
        body = {"currency": "EUR", "rail": "sepa_credit", "destination": where}
    body |= {"amount": 1000 + number, "source": sources[str(body["currency"])]}
    key = f"storm-{number}-{time.time_ns()}"
    while True:
        # A client that meets a dying API asks again with the same key.
        try:
            answer = shop.post("/payouts", body, key=key)
        except Exception:
            time.sleep(0.5)
            continue
        document = answer.json() if answer.status_code < 500 or "payout" in answer.text else {}
        found = document.get("payout", document)
        if "id" in found:
            return str(found["id"])
        time.sleep(0.5)


def _orders(stage: Stage, payout: dict[str, Any]) -> list[dict[str, Any]]:
    key = f"{payout['id']}:1"
    return stage.banks[payout["rail"]].orders(identification_of(key) if payout["rail"] == "ach" else reference_of(key))


def _await_end(stage: Stage, shop: Shop, ids: list[str], deadline: float) -> list[dict[str, Any]]:
    """The payouts once each is where the bank's books say it is; an order that never arrived stays unknown."""
    while True:
        payouts = [shop.get(f"/payouts/{one}") for one in ids]
        if all(not _contradictions(stage, payout) for payout in payouts) or time.monotonic() > deadline:
            return payouts
        time.sleep(2)


def _contradictions(stage: Stage, payout: dict[str, Any]) -> list[str]:
    found = _orders(stage, payout)
    if len(found) > 1:
        return [f"{payout['id']} is {len(found)} payments at the bank"]
    if not found:
        expected = "unknown"
    elif found[0]["booked_at"]:
        expected = "returned" if found[0]["returned_at"] else "paid"
    else:
        expected = "failed"
    if payout["status"] != expected:
        return [f"{payout['id']} is {payout['status']}, the bank's books say {expected}"]
    if found and (found[0]["amount"], found[0]["currency"]) != (payout["amount"], payout["currency"]):
        return [f"{payout['id']} has another amount at the bank"]
    return []


def _compare(
    stage: Stage, report: StormReport, shop: Shop, sources: dict[str, str], payouts: list[dict[str, Any]]
) -> None:
    for payout in payouts:
        report.findings += _contradictions(stage, payout)
    for currency, source in sources.items():
        out = [p["amount"] for p in payouts if p["currency"] == currency and p["status"] in ("paid", "unknown")]
        if shop.posted(source) != 10_000_000 - sum(out):
            report.findings.append(f"{source} holds {shop.posted(source)}, {sum(out)} went out of 10000000")
    admin = Shop(stage.instance.sandbox["api_url"], stage.instance.sandbox["admin_key"])
    if not admin.get("/ledger/invariants")["ok"]:
        report.findings.append("the books do not prove")
    admin.close()


def main() -> None:
    """Run a storm on an instance and banks of its own and print the report as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--payouts", type=int, default=200)
    arguments.add_argument("--kills", type=int, default=3)
    arguments.add_argument("--seed", type=int, default=29)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="ledgerline-bank-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        with bank_stage(folder, chosen.seed) as stage:
            report = storm(stage, chosen.payouts, kills=chosen.kills)
    print(json.dumps({name: getattr(report, name) for name in StormReport.__slots__}, indent=2))
    raise SystemExit(1 if report.findings else 0)


if __name__ == "__main__":
    main()
