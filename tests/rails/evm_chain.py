"""A real EVM node (anvil) with Circle's own token on it, and the powers over both that tests need."""

import json
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.contract import Contract

from embedded.processes import free_port, launch, log_tail, stop
from tests.node_peers import MODULES, node_environment, npm_program

ARTIFACTS = MODULES / "@offchainlabs" / "stablecoin-evm" / "artifacts" / "hardhat" / "contracts"
FUNDS_MINOR = 1_000_000_000_000
"""A million USDC for each wallet."""


@dataclass(frozen=True)
class HotWallet:
    """A wallet with ether for gas and token funds; `key` in hex."""

    address: str
    key: str


class EvmChain:
    """The node and the token. The deployer is owner, minter, pauser and blacklister."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.web3 = Web3(HTTPProvider(url))
        self._deployer = self.web3.eth.accounts[0]
        self.token = self._deploy()

    def ask(self, method: str, *parameters: Any) -> Any:
        """One JSON-RPC call, the node's own powers (`anvil_…`, `evm_…`) included."""
        answer = self.web3.provider.make_request(method, list(parameters))  # type: ignore[arg-type]
        assert "error" not in answer, answer
        return answer["result"]

    def new_wallet(self, funds_minor: int = FUNDS_MINOR) -> HotWallet:
        """A wallet nobody used before."""
        account = Account.from_key(secrets.token_bytes(32))
        self.ask("anvil_setBalance", account.address, hex(10**20))
        self._send(self.token.functions.mint(account.address, funds_minor))
        return HotWallet(address=str(account.address), key="0x" + bytes(account.key).hex())

    def new_address(self) -> str:
        """An address nobody used before."""
        return str(Account.from_key(secrets.token_bytes(32)).address)

    def blacklist(self, address: str) -> None:
        """What Circle does to an address."""
        self._send(self.token.functions.blacklist(address))

    def pause(self) -> None:
        """What Circle does to the whole token."""
        self._send(self.token.functions.pause())

    def unpause(self) -> None:
        """And back."""
        self._send(self.token.functions.unpause())

    def balance_minor(self, address: str) -> int:
        """What an address holds."""
        return int(self.token.functions.balanceOf(address).call())

    def received(self, address: str) -> list[int]:
        """Every amount an address was ever paid, as the chain stands now."""
        logs = self.token.events.Transfer().get_logs(from_block=0, argument_filters={"to": address})
        return [int(log["args"]["value"]) for log in logs]

    def mine(self, blocks: int = 1) -> None:
        """Blocks at once."""
        self.ask("anvil_mine", hex(blocks))

    def _deploy(self) -> Contract:
        library = self._create("util/SignatureChecker.sol/SignatureChecker.json", {})
        token = self._create("v2/FiatTokenV2_2.sol/FiatTokenV2_2.json", {"SignatureChecker": library.address})
        owner = self._deployer
        self._send(token.functions.initialize("USD Coin", "USDC", "USD", 6, owner, owner, owner, owner))
        self._send(token.functions.initializeV2("USD Coin"))
        self._send(token.functions.initializeV2_1(self.web3.eth.accounts[9]))
        self._send(token.functions.initializeV2_2([], "USDC"))
        self._send(token.functions.configureMinter(owner, 2**200))
        return token

    def _create(self, artifact: str, libraries: dict[str, str]) -> Contract:
        document = json.loads((ARTIFACTS / artifact).read_text())
        code = bytearray.fromhex(_without_placeholders(document["bytecode"][2:]))
        for places in document["linkReferences"].values():
            for name, places_of_one in places.items():
                for place in places_of_one:
                    start = place["start"]
                    code[start : start + place["length"]] = bytes.fromhex(libraries[name][2:])
        made = self.web3.eth.contract(abi=document["abi"], bytecode=bytes(code))
        receipt = self._await(made.constructor().transact({"from": self._deployer}))
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=document["abi"])

    def _send(self, call: Any) -> None:
        receipt = self._await(call.transact({"from": self._deployer}))
        assert receipt["status"] == 1

    def _await(self, sent: Any) -> Any:
        return self.web3.eth.wait_for_transaction_receipt(sent, timeout=30, poll_latency=0.05)


def _without_placeholders(code: str) -> str:
    """Hex of a contract whose libraries are not linked yet has `__$…$__` where addresses go."""
    parts = code.split("__$")
    return parts[0] + "".join("0" * 40 + part.split("$__", 1)[1] for part in parts[1:])


@contextmanager
def evm_chain(folder: Path, *, block_seconds: float | None = None) -> Iterator[EvmChain]:
    """A node of its own on a free port; with `block_seconds` it mines by the clock, otherwise each transaction."""
    port, log = free_port(), folder / "anvil.log"
    command = [*npm_program("anvil"), "--host", "127.0.0.1", "--port", str(port)]
    process = launch(command, log_path=log, environment={**node_environment(), "HOME": str(folder)}, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while not Web3(HTTPProvider(url)).is_connected():
            assert process.poll() is None and time.monotonic() < deadline, log_tail(log)
            time.sleep(0.05)
        chain = EvmChain(url)
        if block_seconds is not None:
            chain.ask("evm_setIntervalMining", block_seconds)
        yield chain
    finally:
        stop(process, ask=signal.SIGTERM, patience_seconds=5)
