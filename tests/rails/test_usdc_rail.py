"""USDC on a real EVM node with Circle's own token: the contract every rail keeps, and what only chains do."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapters.usdc.adapter import UsdcRailAdapter, build
from rails.contract import CONTRACT, Effect, RailBench
from rails.faulty_path import Fault, FaultyPath
from tests.conftest import ROOT, TestDatabase
from tests.rails.evm_chain import FUNDS_MINOR, EvmChain, HotWallet, evm_chain

CONFIRMATIONS = 4
ORDER = b"eth_sendRawTransaction"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvmChain]:
    """A node that mines each transaction at once, until a test says otherwise."""
    with evm_chain(tmp_path_factory.mktemp("chain")) as started:
        yield started


class UsdcBench(RailBench):
    """A fresh wallet on the chain, behind a path that breaks the broadcast and nothing else."""

    currency = "USDC"

    def __init__(self, chain: EvmChain, path: FaultyPath, database: TestDatabase, folder: Path) -> None:
        self.chain = chain
        self.path = path
        self.wallet: HotWallet = chain.new_wallet()
        self.blacklisted = chain.new_address()
        chain.blacklist(self.blacklisted)
        self._destinations: dict[str, str] = {}
        key_file = folder / "wallet.key"
        key_file.write_text(self.wallet.key)
        self.configuration = {
            "url": path.url,
            "chain": "anvil",
            "confirmations": str(CONFIRMATIONS),
            "token": str(chain.token.address),
            "private_key_file": str(key_file),
            "database_url": database.app_url,
            "stuck_after_seconds": "0",
        }
        (self.adapter,) = build(self.configuration)

    def first_flow(self) -> Flow:
        return Flow.PAYOUT

    def order_fields(self, fate: str) -> dict[str, object]:
        if fate == "lost":
            self.path.delay_next()
        address = self.blacklisted if fate == "declined_hard" else self.chain.new_address()
        amount = 2 * FUNDS_MINOR if fate == "declined_soft" else 8_420_000
        return {"destination": {"type": "usdc", "address": address, "chain": "anvil"}, "amount_minor": amount}

    def order(self, fate: str = "approved", **fields: object) -> RailRequest:
        made = super().order(fate, **fields)
        self._destinations[made.rail_key] = (made.destination or {})["address"]
        return made

    def effect(self, rail_key: str) -> Effect | None:
        received = self.chain.received(self._destinations[rail_key])
        return Effect("approved", received[0], len(received)) if received else None

    async def break_next_call(self, kind: Fault) -> None:
        await self.path.break_next(kind)

    async def heal(self) -> None:
        await self.path.heal()

    async def told(self) -> dict[str | None, Outcome | None]:
        """What the rail tells by itself of this wallet's orders."""
        assert isinstance(self.adapter, UsdcRailAdapter)
        notices = await self.adapter.collect_notices()
        return {notice.rail_key: notice.answer and notice.answer.outcome for notice in notices}

    async def tend(self) -> None:
        """What the background does every few seconds, once."""
        assert isinstance(self.adapter, UsdcRailAdapter)
        await self.adapter.tend_once()


@pytest.fixture
async def bench(chain: EvmChain, database: TestDatabase, tmp_path: Path) -> AsyncIterator[UsdcBench]:
    path = FaultyPath(chain.url, only=ORDER)
    await path.start()
    bench = UsdcBench(chain, path, database, tmp_path)
    yield bench
    await bench.adapter.aclose()
    await path.stop()


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
async def test_usdc_keeps_contract(bench: UsdcBench, rule: Callable[[RailBench], Awaitable[None]]) -> None:
    await rule(bench)


async def test_a_transfer_is_paid_at_depth_and_not_before(bench: UsdcBench) -> None:
    request = bench.order()
    assert (await bench.run(request)).outcome is Outcome.PENDING
    bench.chain.mine(CONFIRMATIONS - 2)
    shallow = await bench.ask(request)
    assert (shallow.outcome, shallow.detail) == (Outcome.PENDING, "mined, not final yet")
    bench.chain.mine()
    paid = await bench.ask(request)
    assert paid.outcome is Outcome.APPROVED and paid.final_funds
    assert await bench.told() == {}
    await bench.tend()
    assert await bench.told() == {request.rail_key: paid.outcome}
    assert bench.effect(request.rail_key) == Effect("approved", request.amount_minor, 1)


async def test_an_order_lost_before_the_node_is_broadcast_again_and_paid_once(bench: UsdcBench) -> None:
    request, after = bench.order(), bench.order()
    await bench.break_next_call("drop_before")
    assert (await bench.run(request)).outcome is Outcome.UNKNOWN
    # Its nonce is taken, so the one behind it waits for it.
    assert (await bench.run(after)).outcome is Outcome.PENDING
    assert bench.effect(request.rail_key) is None and bench.effect(after.rail_key) is None
    await bench.tend()
    bench.chain.mine(CONFIRMATIONS)
    for order in (request, after):
        assert (await bench.ask(order)).outcome is Outcome.APPROVED
        assert bench.effect(order.rail_key) == Effect("approved", order.amount_minor, 1)


async def test_a_reorganization_that_loses_a_transfer_ends_in_one_payment(bench: UsdcBench) -> None:
    request = bench.order()
    await bench.run(request)
    assert bench.effect(request.rail_key) is not None
    bench.chain.ask("anvil_reorg", 1, [])
    assert bench.effect(request.rail_key) is None
    assert (await bench.ask(request)).outcome is not Outcome.APPROVED
    await bench.tend()
    bench.chain.mine(CONFIRMATIONS)
    assert (await bench.ask(request)).outcome is Outcome.APPROVED
    assert bench.effect(request.rail_key) == Effect("approved", request.amount_minor, 1)


async def test_a_transfer_lost_after_it_was_final_is_made_again(bench: UsdcBench) -> None:
    request = bench.order()
    await bench.run(request)
    bench.chain.mine(CONFIRMATIONS)
    await bench.tend()
    bench.chain.ask("anvil_reorg", CONFIRMATIONS + 2, [])
    assert bench.effect(request.rail_key) is None
    await bench.tend()
    bench.chain.mine(CONFIRMATIONS)
    await bench.tend()
    assert (await bench.ask(request)).outcome is Outcome.APPROVED
    assert bench.effect(request.rail_key) == Effect("approved", request.amount_minor, 1)


async def test_a_stuck_transfer_is_replaced_under_its_nonce(bench: UsdcBench) -> None:
    chain, request = bench.chain, bench.order()
    chain.ask("evm_setAutomine", False)
    try:
        waiting = await bench.run(request)
        chain.ask("anvil_setNextBlockBaseFeePerGas", hex(50 * 10**9))
        chain.mine()
        assert bench.effect(request.rail_key) is None, "the fee spike keeps it out"
        await bench.tend()
        chain.mine(CONFIRMATIONS)
    finally:
        chain.ask("evm_setAutomine", True)
    paid = await bench.ask(request)
    assert paid.outcome is Outcome.APPROVED and paid.rail_reference != waiting.rail_reference
    assert bench.effect(request.rail_key) == Effect("approved", request.amount_minor, 1)


async def test_fees_are_not_raised_above_the_ceiling(bench: UsdcBench) -> None:
    (frugal,) = build({**bench.configuration, "fee_gwei_max": "1"})
    assert isinstance(frugal, UsdcRailAdapter)
    chain, request = bench.chain, bench.order()
    chain.ask("evm_setAutomine", False)
    try:
        before = await frugal.execute(request, None)
        chain.ask("anvil_setNextBlockBaseFeePerGas", hex(50 * 10**9))
        chain.mine()
        await frugal.tend_once()
        assert (await bench.ask(request)).rail_reference == before.rail_reference
    finally:
        chain.ask("evm_setAutomine", True)
        await frugal.aclose()


@pytest.mark.parametrize(
    ("destination", "code", "decline_class"),
    [
        ({"address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe1"}, "address_invalid", DeclineClass.DATA_FIX),
        ({"address": "0x" + "00" * 20}, "address_invalid", DeclineClass.DATA_FIX),
        ({"address": "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"}, "address_invalid", DeclineClass.DATA_FIX),
        ({}, "address_invalid", DeclineClass.DATA_FIX),
        ({"address": "0x" + "11" * 20, "chain": "solana"}, "chain_not_served", DeclineClass.SOFT),
    ],
)
async def test_what_cannot_be_paid_is_refused_before_anything_is_signed(
    bench: UsdcBench, destination: dict[str, str], code: str, decline_class: DeclineClass
) -> None:
    request = replace(bench.order(), destination={"type": "usdc", "chain": "anvil", **destination})
    answer = await bench.run(request)
    assert (answer.outcome, answer.decline_code, answer.decline_class) == (Outcome.DECLINED, code, decline_class)
    assert (await bench.ask(request)).outcome is Outcome.NOT_ATTEMPTED


async def test_a_paused_token_lets_another_rail_try(bench: UsdcBench) -> None:
    bench.chain.pause()
    try:
        answer = await bench.run(bench.order())
    finally:
        bench.chain.unpause()
    assert (answer.decline_code, answer.decline_class) == ("token_paused", DeclineClass.SOFT)


async def test_an_address_blacklisted_after_signing_reverts_and_nothing_moved(bench: UsdcBench) -> None:
    chain, request = bench.chain, bench.order()
    chain.ask("evm_setAutomine", False)
    try:
        assert (await bench.run(request)).outcome is Outcome.PENDING
        assert request.destination is not None
        # The blacklister pays more for its place in the block.
        sent = chain.token.functions.blacklist(request.destination["address"]).transact(
            {"from": chain.web3.eth.accounts[0], "maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**11}
        )
        chain.mine(CONFIRMATIONS)
        chain.web3.eth.wait_for_transaction_receipt(sent)
    finally:
        chain.ask("evm_setAutomine", True)
    answer = await bench.ask(request)
    assert (answer.outcome, answer.decline_code) == (Outcome.DECLINED, "transfer_reverted")
    await bench.tend()
    assert (await bench.ask(request)).decline_code == "transfer_reverted"
    assert bench.effect(request.rail_key) is None


async def test_what_is_on_its_way_cannot_be_promised_twice(bench: UsdcBench) -> None:
    bench.chain.ask("evm_setAutomine", False)
    try:
        first, second = (bench.order(amount_minor=FUNDS_MINOR * 6 // 10) for _ in range(2))
        assert (await bench.run(first)).outcome is Outcome.PENDING
        answer = await bench.run(second)
    finally:
        bench.chain.ask("evm_setAutomine", True)
    assert (answer.decline_code, answer.decline_class) == ("wallet_out_of_funds", DeclineClass.SOFT)
    assert (await bench.ask(second)).outcome is Outcome.NOT_ATTEMPTED


async def test_a_nonce_used_by_somebody_else_is_a_definite_no(bench: UsdcBench) -> None:
    chain, request = bench.chain, bench.order()
    await bench.break_next_call("drop_before")
    await bench.run(request)
    chain.ask("anvil_impersonateAccount", bench.wallet.address)
    chain.web3.eth.send_transaction({"from": bench.wallet.address, "to": bench.wallet.address, "value": 0})
    assert (await bench.ask(request)).outcome is Outcome.UNKNOWN
    chain.mine(CONFIRMATIONS)
    answer = await bench.ask(request)
    assert (answer.outcome, answer.decline_code) == (Outcome.DECLINED, "nonce_used_elsewhere")
    await bench.tend()
    assert (await bench.ask(request)).decline_code == "nonce_used_elsewhere"


async def test_an_order_never_written_is_closed_by_asking(bench: UsdcBench) -> None:
    request = bench.order()
    assert (await bench.ask(request)).outcome is Outcome.NOT_ATTEMPTED
    assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED
    assert bench.effect(request.rail_key) is None


async def test_without_a_journal_nothing_is_signed(bench: UsdcBench) -> None:
    (homeless,) = build({**bench.configuration, "database_url": "postgresql://127.0.0.1:1/nowhere?connect_timeout=1"})
    request = bench.order()
    try:
        answer = await homeless.execute(request, None)
        asked: RailAnswer = await homeless.inquire(
            flow=Flow.PAYOUT, rail_key=request.rail_key, sent_at=datetime.now(UTC), deadline_seconds=1
        )
    finally:
        await homeless.aclose()
    assert (answer.outcome, asked.outcome) == (Outcome.NOT_ATTEMPTED, Outcome.UNKNOWN)


async def test_the_journal_forgets_nothing(bench: UsdcBench, database: TestDatabase) -> None:
    await bench.run(bench.order())
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        for statement in (
            "DELETE FROM chain_sends",
            "UPDATE chain_sends SET raw = ''",
            "DELETE FROM chain_orders",
            "UPDATE chain_orders SET nonce = nonce + 1",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chain": "nowhere", "confirmations": ""}, "number of blocks"),
        ({"token": "0x12"}, "no address of a contract"),
        ({"mode": "real"}, "neither test nor live"),
    ],
)
def test_a_line_that_is_wrong_is_named(bench: UsdcBench, changes: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tuple(build({**bench.configuration, **changes}))


def test_the_interpreter_keeps_its_recursion_limit() -> None:
    """Deeply nested input must end in an error, not in the end of the process."""
    program = "import sys, rails.adapters.usdc.adapter; print(sys.getrecursionlimit())"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "1000"


def test_a_chain_without_a_rule_needs_confirmations(bench: UsdcBench) -> None:
    configuration = {key: value for key, value in bench.configuration.items() if key != "confirmations"}
    with pytest.raises(ValueError, match="give `confirmations`"):
        tuple(build(configuration))
    assert next(iter(build({**configuration, "chain": "ethereum"}))).profile.sandbox
