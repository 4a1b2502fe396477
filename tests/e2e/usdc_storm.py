"""USDC payouts through a whole instance while the chain misbehaves: `python -m tests.e2e.usdc_storm --payouts 200`.

Then the chain's own books are compared with ours: every payout paid exactly once, and what left the wallet is
what the ledger says the rail was credited.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.e2e.instance import API, LedgerlineInstance, running_instance
from tests.e2e.shop import Shop
from tests.rails.evm_chain import FUNDS_MINOR, EvmChain, HotWallet, evm_chain

CONFIRMATIONS = 5
BLOCK_SECONDS = 1
GWEI = 10**9
CLIENTS = 8
PAID_SECONDS_MAX = 420.0


@dataclass(slots=True)
class StormReport:
    """What was done to the chain, and what came of the payouts. `findings` is empty when all is well."""

    payouts: int
    seconds: float = 0.0
    done: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    paid_minor: int = 0
    replaced: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stage:
    """An instance with USDC switched on, the chain behind it, and its hot wallet."""

    instance: LedgerlineInstance
    chain: EvmChain
    wallet: HotWallet


@contextmanager
def usdc_stage(folder: Path) -> Iterator[Stage]:
    """Start a chain and an instance that pays out on it."""
    home = folder / "home"
    home.mkdir(parents=True)
    with evm_chain(folder) as chain:
        wallet = chain.new_wallet()
        key_file = home / "usdc.key"
        key_file.write_text(wallet.key)
        key_file.chmod(0o600)
        line = {
            "url": chain.url,
            "chain": "anvil",
            "confirmations": str(CONFIRMATIONS),
            "token": str(chain.token.address),
            "private_key_file": str(key_file),
            "every_seconds": "0.5",
            "stuck_after_seconds": "4",
            "settlement_seconds": "10",
            "fee_minor": "1",
        }
        fields = ", ".join(f"{name} = {json.dumps(value)}" for name, value in line.items())
        (home / "rails.toml").write_text(f"usdc = {{ {fields} }}\n")
        chain.ask("evm_setAutomine", False)
        chain.ask("evm_setIntervalMining", BLOCK_SECONDS)
        with running_instance(home) as instance:
            yield Stage(instance, chain, wallet)


def storm(stage: Stage, payouts: int, *, kill_worker: bool = False) -> StormReport:
    """Order so many payouts, break the chain meanwhile, wait until all ended, and compare the books."""
    started = time.monotonic()
    report = StormReport(payouts=payouts)
    shop = Shop(stage.instance.sandbox["api_url"], stage.instance.sandbox["test_key"])
    amounts = [1_000_000 + number for number in range(payouts)]
    source = shop.account(currency="USDC", funds=sum(amounts))
    addresses = [stage.chain.new_address() for _ in amounts]
    blows = _blows(stage, report)
    if kill_worker:
        blows.append(lambda: _kill_worker(stage, report))
    every = max(1, payouts // (len(blows) + 1))
    ids: list[str] = []
    orders = list(zip(amounts, addresses, strict=True))
    with ThreadPoolExecutor(CLIENTS) as clients:
        for start in range(0, payouts, every):
            made = clients.map(lambda order: _order(shop, source, *order), orders[start : start + every])
            ids += list(made)
            if blows and len(ids) < payouts:
                blows.pop(0)()
    while blows:
        blows.pop(0)()
    ended = [_await_end(shop, one, started + PAID_SECONDS_MAX) for one in ids]
    for payout in ended:
        report.statuses[payout["status"]] = report.statuses.get(payout["status"], 0) + 1
    _compare(stage, report, shop, source, ended, addresses)
    shop.close()
    report.seconds = round(time.monotonic() - started, 1)
    return report


def _order(shop: Shop, source: str, amount: int, address: str) -> str:
    body = {
        "amount": amount,
        "currency": "USDC",
        "source": source,
        "destination": {"type": "usdc", "address": address, "chain": "anvil"},
        "rail": "usdc",
    }
    answer = shop.post("/payouts", body)
    assert answer.status_code in (201, 202), answer.text
    return str(answer.json()["id"])


def _blows(stage: Stage, report: StormReport) -> list[Callable[[], None]]:
    chain, wallet = stage.chain, stage.wallet

    def reorganize() -> None:
        chain.ask("anvil_reorg", CONFIRMATIONS - 2, [])
        report.done.append(f"reorganized {CONFIRMATIONS - 2} blocks")

    def drop_pending() -> None:
        """The node forgets what waits: the lowest nonce is gone and everything behind it is stuck."""
        pool = chain.ask("txpool_content")
        mine = {owner: waiting for owner, waiting in pool["pending"].items() if owner.lower() == wallet.address.lower()}
        dropped = [one["hash"] for waiting in mine.values() for one in waiting.values()][:1]
        for one in dropped:
            chain.ask("anvil_dropTransaction", one)
        report.done.append(f"dropped {len(dropped)} waiting transactions, nonces behind them stuck")

    def stick_and_drop() -> None:
        chain.ask("evm_setIntervalMining", 0)
        time_to_fill = time.monotonic() + 5
        while not chain.ask("txpool_content")["pending"] and time.monotonic() < time_to_fill:
            time.sleep(0.05)
        drop_pending()
        chain.ask("evm_setIntervalMining", BLOCK_SECONDS)

    def spike() -> None:
        chain.ask("anvil_setNextBlockBaseFeePerGas", hex(80 * GWEI))
        report.done.append("raised the base fee to 80 gwei")

    return [reorganize, stick_and_drop, spike, reorganize]


def _kill_worker(stage: Stage, report: StormReport) -> None:
    stage.instance.await_restart(API, stage.instance.kill_part(API))
    report.done.append("killed the API and worker with -9")


def _await_end(shop: Shop, payout_id: str, deadline: float) -> dict[str, Any]:
    while (payout := shop.get(f"/payouts/{payout_id}"))["status"] not in ("paid", "failed", "returned"):
        if time.monotonic() > deadline:
            return payout
        time.sleep(0.2)
    return payout


def _compare(
    stage: Stage, report: StormReport, shop: Shop, source: str, payouts: list[dict[str, Any]], addresses: list[str]
) -> None:
    chain = stage.chain
    for payout, address in zip(payouts, addresses, strict=True):
        received = chain.received(address)
        expected = [payout["amount"]] if payout["status"] == "paid" else []
        if received != expected:
            report.findings.append(f"{payout['id']} is {payout['status']}, the chain paid {received}")
    report.paid_minor = sum(payout["amount"] for payout in payouts if payout["status"] == "paid")
    left = FUNDS_MINOR - chain.balance_minor(stage.wallet.address)
    if left != report.paid_minor:
        report.findings.append(f"{left} left the wallet, {report.paid_minor} were paid")
    admin = Shop(stage.instance.sandbox["api_url"], stage.instance.sandbox["admin_key"])
    balances = {row["account"]: row["posted"] for row in admin.get("/ledger/trial_balance")["accounts"]}
    if balances.get("rail_clearing:usdc:USDC:test", 0) != left:
        report.findings.append(f"the ledger credited the rail {balances.get('rail_clearing:usdc:USDC:test', 0)}")
    if not admin.get("/ledger/invariants", full="true")["ok"]:
        report.findings.append("the books do not prove")
    admin.close()
    with psycopg.connect(stage.instance.sandbox["database_url"]) as connection:
        row = connection.execute("SELECT count(*) FROM chain_sends WHERE number > 1").fetchone()
        assert row is not None
        report.replaced = row[0]
    if shop.posted(source) != sum(payout["amount"] for payout in payouts) - report.paid_minor:
        report.findings.append(f"the source account holds {shop.posted(source)}")


def main() -> None:
    """Run a storm on an instance and a chain of its own and print the report as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--payouts", type=int, default=200)
    with tempfile.TemporaryDirectory(prefix="ledgerline-usdc-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with usdc_stage(folder) as stage:
            report = storm(stage, arguments.parse_args().payouts, kill_worker=True)
    print(json.dumps({name: getattr(report, name) for name in StormReport.__slots__}, indent=2))
    raise SystemExit(1 if report.findings else 0)


if __name__ == "__main__":
    main()
