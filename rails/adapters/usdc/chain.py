"""What the chain says: fees, funds, and where an order stands. Reads only, but for `broadcast`.

Decides when a transaction counts as final: so many blocks deep, or below the block the chain calls finalized.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rails.adapters.usdc.journal import ChainOrder
from rails.adapters.usdc.node import EvmNode, NodeRefusalError
from rails.adapters.usdc.token import Fees, SignedTransfer, balance_call, moved, transfer_call

_FINALITY = json.loads((Path(__file__).parent / "finality.json").read_text("utf-8"))
READ_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finality:
    """When a block is final: `blocks` deep (1: the newest one is), or at or below the block with this `tag`."""

    blocks: int | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        assert (self.blocks is None) != (self.tag is None) and (self.blocks is None or self.blocks >= 1)


def finality_of(chain: str, blocks: str | None) -> Finality:
    """Return a chain's rule from the table, or the configured number of blocks.

    Raises:
        ValueError: neither knows the chain, or the number is none. Not retryable.
    """
    if blocks is not None:
        if not blocks.isdecimal() or int(blocks) < 1:
            raise ValueError("`confirmations` is a number of blocks, 1 or more")
        return Finality(blocks=int(blocks))
    if chain not in _FINALITY["chains"]:
        known = ", ".join(sorted(_FINALITY["chains"]))
        raise ValueError(f"no rule says when {chain} is final: give `confirmations`, or one of {known} as `chain`")
    return Finality(**_FINALITY["chains"][chain])


class Standing(StrEnum):
    """Where an order stands on the chain.

    FINAL and REVERTED are deep enough to stay. SHALLOW is mined, WAITING is known to the node, UNSEEN is not:
    never broadcast, dropped, or lost in a reorganization. REPLACED: its nonce was used by a transaction that is
    not in the journal, so the order can never happen, once that is deep enough to stay.
    """

    FINAL = "final"
    REVERTED = "reverted"
    SHALLOW = "shallow"
    WAITING = "waiting"
    UNSEEN = "unseen"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at an order found; the receipt's hash and block where it is mined."""

    standing: Standing
    mined_hash: str | None = None
    block: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a new transfer is made with: the wallet's funds at a block, gas, fees and the node's count of nonces."""

    block: int
    funds_minor: int
    gas: int
    fees: Fees
    first_nonce: int


class Chain:
    """One token on one chain as one wallet sees it."""

    def __init__(self, node: EvmNode, *, token: str, wallet: str, finality: Finality) -> None:
        self._node = node
        self._token = token
        self._wallet = wallet
        self._finality = finality

    async def ask(self, method: str, *parameters: Any) -> Any:
        """Return the result of one question; see `EvmNode.ask` for its errors."""
        return await self._node.ask(method, parameters, deadline_seconds=READ_SECONDS)

    async def chain_id(self) -> int:
        """Return the number that transactions are signed for."""
        return int(await self.ask("eth_chainId"), 16)

    async def terms(self, to: str, amount: int) -> Terms:
        """Return what a transfer would be made with; the transfer is tried out on the newest block.

        Raises:
            NodeSilentError: the node did not answer a question. Retryable.
            NodeRefusalError: the token would refuse the transfer; the message names its reason. Not retryable.
        """
        block = int(await self.ask("eth_blockNumber"), 16)
        funds = int(await self.ask("eth_call", {"to": self._token, "data": balance_call(self._wallet)}, hex(block)), 16)
        order = {"from": self._wallet, "to": self._token, "data": transfer_call(to, amount)}
        gas = int(await self.ask("eth_estimateGas", order), 16)
        first_nonce = int(await self.ask("eth_getTransactionCount", self._wallet, "pending"), 16)
        # A fifth more than was used: a first transfer to an address costs more than the next one.
        return Terms(
            block=block,
            funds_minor=funds,
            gas=gas + gas // 5,
            fees=await self.suggested_fees(),
            first_nonce=first_nonce,
        )

    async def suggested_fees(self) -> Fees:
        """Return fees that stay valid while the base fee doubles."""
        base = int((await self.ask("eth_getBlockByNumber", "latest", False))["baseFeePerGas"], 16)
        priority = int(await self.ask("eth_maxPriorityFeePerGas"), 16)
        return Fees(max_wei=2 * base + priority, priority_wei=priority)

    async def broadcast(self, transfer: SignedTransfer, *, deadline_seconds: float = READ_SECONDS) -> None:
        """Hand a signed transaction to the node. Repeating it changes nothing.

        Raises:
            NodeSilentError: it may have arrived. Retryable.
            NodeRefusalError: the node does not take it now; it stays valid and may be mined all the same.
        """
        await self._node.ask("eth_sendRawTransaction", ["0x" + transfer.raw.hex()], deadline_seconds=deadline_seconds)

    async def final_block(self) -> int:
        """Return the newest block that counts as final."""
        if self._finality.tag is not None:
            return int((await self.ask("eth_getBlockByNumber", self._finality.tag, False))["number"], 16)
        assert self._finality.blocks is not None
        return int(await self.ask("eth_blockNumber"), 16) - self._finality.blocks + 1

    async def hashes_of(self, block: int) -> frozenset[str] | None:
        """Return the transactions of a block, None while the node doesn't have one of this number."""
        found = await self.ask("eth_getBlockByNumber", hex(block), False)
        return frozenset(found["transactions"]) if found else None

    async def nonces_used(self, block: int | None = None) -> int:
        """Return how many of the wallet's transactions are mined, up to a block or the newest one."""
        return int(
            await self.ask("eth_getTransactionCount", self._wallet, "latest" if block is None else hex(block)), 16
        )

    async def look(self, order: ChainOrder, *, final_block: int) -> Look:
        """Return where an order stands.

        Raises:
            NodeSilentError, NodeRefusalError: the node can't tell. Retryable.
        """
        for hash_ in order.hashes:
            receipt = await self.ask("eth_getTransactionReceipt", hash_)
            if receipt is None:
                continue
            block = int(receipt["blockNumber"], 16)
            if block > final_block:
                return Look(standing=Standing.SHALLOW, mined_hash=hash_, block=block)
            if int(receipt["status"], 16) == 0:
                return Look(standing=Standing.REVERTED, mined_hash=hash_, block=block)
            paid = moved(receipt, token=self._token, source=self._wallet, to=order.destination)
            assert paid == order.amount_minor, f"{hash_} moved {paid} where {order.amount_minor} were ordered"
            return Look(standing=Standing.FINAL, mined_hash=hash_, block=block)
        if final_block >= 0 and await self.nonces_used(final_block) > order.nonce:
            return Look(standing=Standing.REPLACED)
        for hash_ in order.hashes:
            if await self.ask("eth_getTransactionByHash", hash_) is not None:
                return Look(standing=Standing.WAITING)
        return Look(standing=Standing.UNSEEN)


def revert_reason(refusal: NodeRefusalError) -> str:
    """Return the reason a token gave, without what nodes put before it."""
    return refusal.message.rsplit("revert: ", 1)[-1].rsplit("reverted: ", 1)[-1].strip()
