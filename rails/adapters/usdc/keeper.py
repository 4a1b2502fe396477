"""Looking after what was signed until it is deep in the chain: broadcast again, raise fees, survive reorganizations.

One process at a time tends a wallet (an advisory lock decides). Everything it does may be done twice: it
only ever hands in transactions of the journal, and those of one order share a nonce.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from rails.adapters.usdc.chain import Chain, Standing
from rails.adapters.usdc.journal import ChainOrder, Journal
from rails.adapters.usdc.node import NodeRefusalError, NodeSilentError
from rails.adapters.usdc.token import Fees, SignedTransfer
from rails.configuration import RailConfiguration

RAISED_AT_A_TIME = 16
"""Orders whose fees are raised in one round: the lowest nonces hold up all others."""

WATCHED_BLOCKS = 256
"""Orders counted as final are watched for so many blocks more."""

_PASSING = (
    NodeSilentError,
    NodeRefusalError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    PoolTimeout,
    PoolClosed,
    OSError,
)

log = logging.getLogger(__name__)

SignAgain = Callable[[ChainOrder, Fees], Awaitable[SignedTransfer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperPolicy:
    """How often the wallet is looked after, when an order counts as stuck, and the most a unit of gas may cost."""

    every_seconds: float = 3.0
    stuck_after: timedelta = timedelta(seconds=60)
    fee_wei_max: int = 300_000_000_000

    @staticmethod
    def read(configuration: RailConfiguration) -> "KeeperPolicy":
        """Return the policy of a line in rails.toml: `every_seconds`, `stuck_after_seconds`, `fee_gwei_max`.

        Raises:
            ValueError: one of them is no number. Not retryable.
        """
        return KeeperPolicy(
            every_seconds=float(configuration.get("every_seconds", "3")),
            stuck_after=timedelta(seconds=float(configuration.get("stuck_after_seconds", "60"))),
            fee_wei_max=int(configuration.get("fee_gwei_max", "300")) * 1_000_000_000,
        )


class Keeper:
    """Tends one wallet's orders."""

    def __init__(self, chain: Chain, journal: Journal, policy: KeeperPolicy, sign_again: SignAgain) -> None:
        self._chain = chain
        self._journal = journal
        self._policy = policy
        self._sign_again = sign_again

    async def tend(self) -> None:
        """Tend for ever; whatever fails is tried again in the next round."""
        while True:
            try:
                async with self._journal.tending() as mine:
                    if mine:
                        await self.tend_once()
            except _PASSING as error:
                log.warning("the chain's orders could not be tended now", extra={"cause": repr(error)})
            await asyncio.sleep(self._policy.every_seconds)

    async def tend_once(self) -> None:
        """Look at every order that is not final, and at those that lately became so.

        Raises:
            NodeSilentError, NodeRefusalError: the node cannot be asked. Retryable.
        """
        final_block = await self._chain.final_block()
        await self._watch_final(final_block)
        raised = 0
        for order in await self._journal.open_orders():
            look = await self._chain.look(order, final_block=final_block)
            if look.standing in (Standing.FINAL, Standing.REVERTED):
                assert look.mined_hash is not None and look.block is not None
                status = "confirmed" if look.standing is Standing.FINAL else "reverted"
                await self._journal.mined(order, status=status, mined_hash=look.mined_hash, block=look.block)
            elif look.standing is Standing.REPLACED:
                log.error("a nonce of the wallet was used by somebody else", extra={"rail_key": order.rail_key})
                await self._journal.mined(order, status="reverted", mined_hash=None, block=None)
            elif look.standing in (Standing.WAITING, Standing.UNSEEN):
                stuck = order.age >= self._policy.stuck_after and raised < RAISED_AT_A_TIME
                standing = await self._raise_fees(order) if stuck else order
                raised += stuck
                if look.standing is Standing.UNSEEN or standing.number > order.number:
                    await self._hand_in(standing)

    async def _watch_final(self, final_block: int) -> None:
        """Open what a reorganization deeper than finality took out of the chain again: it is broadcast anew."""
        mined_in: dict[int, list[ChainOrder]] = {}
        for order in await self._journal.confirmed_since(final_block - WATCHED_BLOCKS):
            assert order.mined_block is not None
            mined_in.setdefault(order.mined_block, []).append(order)
        for block, orders in mined_in.items():
            found = await self._chain.hashes_of(block)
            for order in orders:
                if found is None or order.mined_hash in found:
                    continue
                log.error(
                    "a final transfer is gone from the chain; it is broadcast again", extra={"rail_key": order.rail_key}
                )
                await self._journal.unmined(order)

    async def _raise_fees(self, order: ChainOrder) -> ChainOrder:
        """Return the order with a transaction in the journal that pays more, where the ceiling permits it."""
        assert order.last is not None
        fees = order.last.fees.raised(await self._chain.suggested_fees(), self._policy.fee_wei_max)
        if fees is None:
            log.warning("an order is stuck below the fee ceiling", extra={"rail_key": order.rail_key})
            return order
        await self._journal.replace(order, await self._sign_again(order, fees))
        written = await self._journal.find(order.rail_key)
        assert written is not None
        return written

    async def _hand_in(self, order: ChainOrder) -> None:
        assert order.last is not None
        try:
            await self._chain.broadcast(order.last)
        except NodeRefusalError as refusal:
            # Known already, underpriced for now, or mined a moment ago: the next look tells.
            log.debug("the node did not take a transaction", extra={"cause": refusal.message[:200]})
