"""The adapter of USDC on one EVM chain: a payout is one token transfer, paid when it is deep in the chain.

An order is read about, then written into the journal with its nonce and its signed transaction, then
broadcast. Before the journal everything is *not attempted*; after it only the chain can say no, because a
signed transaction stays valid. See docs/rails/usdc.md.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from domain.inbound import InboundKind, InboundNotice
from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailPace, RailRequest
from rails.adapter import CardDetails, RailAdapter, RailPrice, RailProfile
from rails.adapters.usdc.chain import Chain, Look, Standing, Terms, finality_of, revert_reason
from rails.adapters.usdc.journal import ChainOrder, Journal, journal_pool
from rails.adapters.usdc.keeper import Keeper, KeeperPolicy
from rails.adapters.usdc.node import EvmNode, NodeRefusalError, NodeSilentError
from rails.adapters.usdc.token import Fees, SignedTransfer, Wallet, payable_address, wallet_of
from rails.configuration import RailConfiguration, moves_real_money, required, secret_of
from rails.exchange import open_client

CURRENCY = "USDC"
ORDER_SECONDS = 2.0
"""How long an order or a question may take; short enough for the fast path."""

TOLD_FOR = timedelta(hours=1)
"""For so long an order that ended is told of again; later its schedule of questions finds it."""

_REVERTS = json.loads((Path(__file__).parent / "reverts.json").read_text("utf-8"))["reverts"]
_DATABASE_OUT_OF_REACH = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, OSError)


def build(configuration: RailConfiguration) -> Iterable[RailAdapter]:
    """Return the one adapter of a line in rails.toml.

    Raises:
        ValueError: the line lacks something, or something in it cannot be read. Not retryable.
    """
    name = configuration.get("name", "usdc")
    chain_name = required(name, configuration, "chain")
    wallet = wallet_of(secret_of(name, configuration, "private_key_file"))
    token = payable_address(required(name, configuration, "token"))
    if token is None:
        raise ValueError(f"the rail {name} has no address of a contract as its `token`")
    node = EvmNode(open_client(required(name, configuration, "url")))
    finality = finality_of(chain_name, configuration.get("confirmations"))
    settlement_seconds = float(configuration.get("settlement_seconds", "900"))
    profile = RailProfile(
        name=name,
        kind="payout",
        flows=frozenset({Flow.PAYOUT}),
        prices={CURRENCY: RailPrice(basis_points=0, fixed_minor=int(configuration.get("fee_minor", "100000")))},
        settlement_seconds=settlement_seconds,
        final_funds=True,
        idempotent=True,
        not_found_final_after_seconds=None,
        approval_prior=0.98,
        payout_destinations=frozenset({"usdc"}),
        pace=_pace(settlement_seconds),
        sandbox=not moves_real_money(name, configuration),
    )
    yield UsdcRailAdapter(
        profile,
        chain_name=chain_name,
        chain=Chain(node, token=token, wallet=wallet.address, finality=finality),
        node=node,
        token=token,
        wallet=wallet,
        journal=Journal(
            journal_pool(required(name, configuration, "database_url")), chain=chain_name, wallet=wallet.address
        ),
        policy=KeeperPolicy.read(configuration),
    )


def _pace(settlement_seconds: float) -> RailPace:
    """Return the pace of a chain: asked a dozen times over twice the time a transfer usually takes to be final."""
    return RailPace(deadline_seconds=ORDER_SECONDS, inquiry_delays_seconds=(settlement_seconds / 6,) * 12)


class UsdcRailAdapter:
    """One wallet on one chain; implements `rails.adapter.RailAdapter`."""

    def __init__(
        self,
        profile: RailProfile,
        *,
        chain_name: str,
        chain: Chain,
        node: EvmNode,
        token: str,
        wallet: Wallet,
        journal: Journal,
        policy: KeeperPolicy,
    ) -> None:
        self._profile = profile
        self._chain_name = chain_name
        self._chain = chain
        self._node = node
        self._token = token
        self._wallet = wallet
        self._journal = journal
        self._chain_id: int | None = None
        self._keeper = Keeper(chain, journal, policy, self._sign_again)
        self._tending: asyncio.Task[None] | None = None

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    async def start(self) -> None:
        """Begin to tend the wallet's orders in the background; see `keeper.py`."""
        assert self._tending is None, "started twice"
        self._tending = asyncio.create_task(self._keeper.tend(), name=f"chain-keeper-{self._profile.name}")

    async def aclose(self) -> None:
        """Stop tending, close connections. Idempotent."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
            self._tending = None
        await self._node.aclose()
        await self._journal.aclose()

    async def collect_notices(self) -> Sequence[InboundNotice]:
        """Return how the orders that lately ended on the chain did; see `rails.adapter.NoticeCollector`."""
        return [
            InboundNotice(
                rail=self._profile.name,
                # An order that a deep reorganization opened again ends once more.
                event_id=f"{order.rail_key}/{order.status}/{order.reorganizations}",
                kind=InboundKind.OUTCOME,
                rail_key=order.rail_key,
                answer=_ended(order),
            )
            for order in await self._journal.ended_within(TOLD_FOR)
        ]

    async def tend_once(self) -> None:
        """Look after every open order once, as the background does; for tools and tests."""
        await self._keeper.tend_once()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the chain; see `rails.adapter.RailAdapter.execute`. The answer is PENDING at best."""
        if request.flow is not Flow.PAYOUT:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        started = time.perf_counter()
        written = _Written()
        try:
            async with asyncio.timeout(request.deadline_seconds):
                answer = await self._execute(request, written)
        except TimeoutError:
            answer = written.silence(f"no answer within {request.deadline_seconds:g} s")
        except _DATABASE_OUT_OF_REACH as error:
            answer = written.silence(f"the journal cannot be reached: {type(error).__name__}")
        except (NodeSilentError, NodeRefusalError) as error:
            answer = written.silence(str(error)[:300])
        return replace(answer, latency_ms=max(1000 * (time.perf_counter() - started), 0.001))

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Return what became of an order, by the journal and the chain; see `rails.adapter.RailAdapter.inquire`.

        An order that is not in the journal gets closed there, so that its late execution is refused: never
        written is never signed.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout(deadline_seconds):
                order = await self._journal.find(rail_key)
                if order is None and await self._journal.close(rail_key):
                    answer = _never()
                else:
                    order = order or await self._journal.find(rail_key)
                    assert order is not None
                    answer = await self._answer(order)
        except (TimeoutError, NodeSilentError, NodeRefusalError, *_DATABASE_OUT_OF_REACH) as error:
            answer = RailAnswer(outcome=Outcome.UNKNOWN, detail=f"inquiry failed: {type(error).__name__}")
        return replace(answer, latency_ms=1000 * (time.perf_counter() - started))

    async def _execute(self, request: RailRequest, written: "_Written") -> RailAnswer:
        written.maybe = request.resumed
        order = await self._journal.find(request.rail_key)
        if order is None:
            terms = await self._terms(request)
            if isinstance(terms, RailAnswer):
                return terms
            written.maybe = True
            order = await self._open(request, terms)
            if order is None:
                written.maybe = False
                return _declined("wallet_out_of_funds", DeclineClass.SOFT)
            written.order = order
            if order.last is not None and order.number == 1:
                await self._broadcast(order.last, request.deadline_seconds)
        else:
            written.order = order
        return await self._answer(order)

    async def _terms(self, request: RailRequest) -> Terms | RailAnswer:
        """Return what the transfer is made with, or the no that stands before anything is signed."""
        destination = request.destination or {}
        if destination.get("chain", self._chain_name) != self._chain_name:
            return _declined("chain_not_served", DeclineClass.SOFT)
        to = payable_address(destination.get("address"))
        if to is None or request.currency != CURRENCY:
            return _declined("address_invalid", DeclineClass.DATA_FIX)
        try:
            if self._chain_id is None:
                self._chain_id = await self._chain.chain_id()
            return await self._chain.terms(to, request.amount_minor)
        except NodeRefusalError as refusal:
            known = _REVERTS.get(revert_reason(refusal))
            if known is not None:
                return _declined(known["code"], DeclineClass(known["class"]))
            return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, detail=f"the node refused: {refusal.message[:200]}")

    async def _open(self, request: RailRequest, terms: Terms) -> ChainOrder | None:
        assert request.destination is not None
        to = payable_address(request.destination["address"])
        assert to is not None and self._chain_id is not None

        def sign(nonce: int) -> SignedTransfer:
            assert self._chain_id is not None
            return self._wallet.sign(
                chain_id=self._chain_id,
                token=self._token,
                to=to,
                amount=request.amount_minor,
                nonce=nonce,
                gas=terms.gas,
                fees=terms.fees,
            )

        return await self._journal.open(
            request.rail_key,
            destination=to,
            amount_minor=request.amount_minor,
            gas=terms.gas,
            funds_minor=terms.funds_minor,
            at_block=terms.block,
            first_nonce=terms.first_nonce,
            sign=sign,
        )

    async def _sign_again(self, order: ChainOrder, fees: Fees) -> SignedTransfer:
        """Sign the same transfer under the same nonce with other fees."""
        if self._chain_id is None:
            self._chain_id = await self._chain.chain_id()
        return self._wallet.sign(
            chain_id=self._chain_id,
            token=self._token,
            to=order.destination,
            amount=order.amount_minor,
            nonce=order.nonce,
            gas=order.gas,
            fees=fees,
        )

    async def _broadcast(self, transfer: SignedTransfer, deadline_seconds: float) -> None:
        try:
            await self._chain.broadcast(transfer, deadline_seconds=deadline_seconds)
        except NodeRefusalError:
            # It is signed and written: the keeper hands it in again until it is mined.
            return

    async def _answer(self, order: ChainOrder) -> RailAnswer:
        if order.status != "open":
            return _ended(order)
        look = await self._chain.look(order, final_block=await self._chain.final_block())
        return _read(look, order)


class _Written:
    """How far an execution got, for when it is cut short: nothing, perhaps, or an order in the journal."""

    def __init__(self) -> None:
        self.maybe = False
        self.order: ChainOrder | None = None

    def silence(self, detail: str) -> RailAnswer:
        """Return what a silence proves: nothing was done as long as nothing can have been written."""
        return RailAnswer(outcome=Outcome.UNKNOWN if self.maybe else Outcome.NOT_ATTEMPTED, detail=detail)


def _read(look: Look, order: ChainOrder) -> RailAnswer:
    assert order.last is not None
    if look.standing is Standing.FINAL:
        return _paid(look.mined_hash)
    if look.standing is Standing.REVERTED:
        return _declined("transfer_reverted", DeclineClass.HARD, look.mined_hash)
    if look.standing is Standing.REPLACED:
        return _declined("nonce_used_elsewhere", DeclineClass.HARD)
    if look.standing is Standing.UNSEEN:
        return RailAnswer(
            outcome=Outcome.UNKNOWN,
            rail_reference=order.last.hash,
            detail="not seen by the node; it is broadcast again",
        )
    detail = "mined, not final yet" if look.standing is Standing.SHALLOW else "waiting to be mined"
    return RailAnswer(outcome=Outcome.PENDING, rail_reference=look.mined_hash or order.last.hash, detail=detail)


def _ended(order: ChainOrder) -> RailAnswer:
    if order.status == "closed":
        return _never()
    if order.status == "confirmed":
        return _paid(order.mined_hash)
    assert order.status == "reverted", order.status
    code = "transfer_reverted" if order.mined_hash else "nonce_used_elsewhere"
    return _declined(code, DeclineClass.HARD, order.mined_hash)


def _paid(mined_hash: str | None) -> RailAnswer:
    assert mined_hash is not None
    return RailAnswer(outcome=Outcome.APPROVED, rail_reference=mined_hash, final_funds=True)


def _never() -> RailAnswer:
    return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, detail="it was never signed and never will be")


def _declined(code: str, decline_class: DeclineClass, reference: str | None = None) -> RailAnswer:
    return RailAnswer(
        outcome=Outcome.DECLINED, decline_code=code, decline_class=decline_class, rail_reference=reference
    )
