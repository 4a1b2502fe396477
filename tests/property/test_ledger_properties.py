"""The ledger against a plain model: whatever is posted, one by one or in batches."""

import asyncio
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from domain.ledger import Movement, Phase, Posting, PostingResult, RefundGuard, RefusalCode
from ledger.invariants import check_books
from ledger.posting import Poster
from tests.conftest import TestDatabase
from tests.ledger.postings import World
from tests.property.book_model import BookModel

ACCOUNTS = ("bank", "a", "b", "c", "late")
LIMITS: dict[str, tuple[int | None, int | None]] = {
    "bank": (None, None),
    "a": (0, None),
    "b": (None, 300),
    "c": (-50, 200),
    "late": (0, None),
}


@dataclass(frozen=True)
class Wish:
    """A movement as drawn; `of` picks an earlier movement to repeat or to act on."""

    debit: int
    credit: int
    amount: int
    phase: Phase
    past_limits: bool
    of: int
    repeat: bool


@dataclass(frozen=True)
class Order:
    """A posting as drawn."""

    wishes: tuple[Wish, ...] = ()
    claim: tuple[int, int] | None = None
    charge: tuple[int, int, bool] | None = None
    refund: tuple[int, int, int] | None = None
    opens_late: bool = False
    repeats: int | None = None


WISHES = st.builds(
    Wish,
    debit=st.integers(0, 4),
    credit=st.integers(1, 4),
    amount=st.integers(1, 120),
    phase=st.sampled_from(
        [Phase.POST] * 4 + [Phase.HOLD] * 2 + [Phase.POST_HOLD, Phase.POST_HOLD_FINAL, Phase.VOID_HOLD]
    ),
    past_limits=st.sampled_from([False] * 5 + [True]),
    of=st.integers(0, 3),
    repeat=st.sampled_from([False] * 9 + [True]),
)
ORDERS = st.builds(
    Order,
    wishes=st.lists(WISHES, max_size=3).map(tuple),
    claim=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 1)),
    charge=st.none() | st.tuples(st.integers(0, 1), st.integers(1, 3), st.booleans()),
    refund=st.none() | st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(1, 150)),
    opens_late=st.sampled_from([False] * 7 + [True]),
    repeats=st.none() | st.none() | st.integers(0, 2),
)
BATCHES = st.lists(st.lists(ORDERS, min_size=1, max_size=6), min_size=1, max_size=5)


class Writer:
    """Turns orders into postings of one world; the same orders give the same postings in another."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: list[Movement] = []
        self.postings: list[Posting] = []

    def posting(self, order: Order) -> Posting:
        """The posting of an order, or one made before."""
        if order.repeats is not None and order.repeats < len(self.postings):
            return self.postings[-1 - order.repeats]
        name, world = f"{self.world.merchant_id}:op{len(self.postings)}", self.world
        movements = tuple(self._movement(wish) for wish in order.wishes)
        posting = world.posting(*movements, key=f"{name}:1")
        if order.opens_late:
            posting = dataclasses.replace(posting, accounts=(world.opening("late", least=0),))
        if order.claim is not None:
            key, owner = order.claim
            posting = dataclasses.replace(posting, claim=world.claim(f"k{key}", f"object{owner}"))
        if order.charge is not None:
            number, version, create_only = order.charge
            charge = world.charge(f"{world.merchant_id}:ch{number}", version, captured=100 * version)
            charge = dataclasses.replace(charge, create_only=create_only)
            posting = dataclasses.replace(posting, records=(charge,))
        if order.refund is not None:
            number, refund, amount = order.refund
            ids = f"{world.merchant_id}:ch{number}", f"{world.merchant_id}:re{number}{refund}"
            guard = RefundGuard(charge_id=ids[0], refund_id=ids[1], amount_minor=amount)
            record = world.refund(ids[1], ids[0], amount)
            posting = dataclasses.replace(posting, refund_guard=guard, records=(*posting.records, record))
        self.postings.append(posting)
        return posting

    def _movement(self, wish: Wish) -> Movement:
        if wish.repeat and wish.of < len(self.made):
            earlier = self.made[-1 - wish.of]
            return earlier if wish.amount % 3 else dataclasses.replace(earlier, amount_minor=wish.amount)
        debit, credit = wish.debit, wish.credit if wish.credit != wish.debit else 0
        if debit == credit:
            debit = 1
        names, hold_key = (ACCOUNTS[debit], ACCOUNTS[credit]), None
        key = f"{self.world.merchant_id}:m{len(self.made)}"
        if wish.phase not in (Phase.POST, Phase.HOLD):
            holds = [movement for movement in self.made if movement.phase is Phase.HOLD][-4:]
            hold = holds[wish.of % len(holds)] if holds else None
            hold_key = hold.key if hold else "none"
            if hold and wish.amount % 7:
                names = (hold.debit_account.rsplit("/", 1)[1], hold.credit_account.rsplit("/", 1)[1])
        movement = self.world.movement(
            *names, wish.amount, key=key, phase=wish.phase, hold_key=hold_key, past_limits=wish.past_limits
        )
        self.made.append(movement)
        return movement


@dataclass
class Bench:
    """Two posters, one that batches and one that posts one by one, and a connection, on one event loop."""

    runner: asyncio.Runner
    posters: tuple[Poster, Poster]
    reader: psycopg.AsyncConnection


@pytest.fixture(scope="module")
def bench(database: TestDatabase) -> Iterator[Bench]:
    """One for the module: Hypothesis runs many examples in it."""
    with asyncio.Runner() as runner:
        posters = (Poster(database.app_url), Poster(database.app_url, batch_max=1))
        for poster in posters:
            runner.run(poster.start())
        reader = runner.run(psycopg.AsyncConnection.connect(database.app_url, autocommit=True))
        yield Bench(runner, posters, reader)
        runner.run(reader.close())
        for poster in posters:
            runner.run(poster.stop())


async def play(bench: Bench, poster: Poster, world: World, batches: list[list[Order]]) -> None:
    """Post the batches and check results, balances and running balances against the model."""
    model, writer = BookModel(), Writer(world)
    openings = [world.opening(name, least=LIMITS[name][0], most=LIMITS[name][1]) for name in ACCOUNTS[:-1]]
    first = world.posting(accounts=tuple(openings), key=f"{world.merchant_id}:open:1")
    model.post(first)
    await poster.post(first)
    known: dict[str, PostingResult] = {}
    for orders in batches:
        postings = [writer.posting(order) for order in orders]
        answers = await asyncio.gather(*(poster.post(posting) for posting in postings))
        codes: dict[str, RefusalCode | None] = {}
        for posting, answer in zip(postings, answers, strict=True):
            code = answer.refusal.code if answer.refusal else None
            if posting.key in known:
                assert answer.duplicate and answer.entries == known[posting.key].entries
            elif posting.key not in codes or code != codes[posting.key]:
                # A refusal is not remembered: what was handed in twice is judged together, or later by the books then.
                codes[posting.key] = code
                assert code == model.post(posting), (posting, answer)
                if code is None:
                    known[posting.key] = answer
    for name in ACCOUNTS:
        cursor = await bench.reader.execute(
            "SELECT id, balance_minor, pending_debits_minor, pending_credits_minor FROM accounts WHERE code = %s",
            (world.code(name),),
        )
        row, account = await cursor.fetchone(), model.accounts.get(world.code(name))
        assert (row is None) == (account is None)
        if row is not None and account is not None:
            assert row[1:] == (account.posted, account.pending_debits, account.pending_credits), name
            cursor = await bench.reader.execute(
                "SELECT balance_minor FROM entries WHERE account_id = %s ORDER BY sequence", (row[0],)
            )
            assert [entry[0] for entry in await cursor.fetchall()] == account.history


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches=BATCHES)
@example(batches=[[Order(refund=(0, 0, 1)), Order(charge=(0, 1, False)), Order(repeats=1)]])
def test_postings_do_what_the_model_does(bench: Bench, batches: list[list[Order]]) -> None:
    """Refusals, balances, what is pending and every running balance, batched or one by one."""
    for poster in bench.posters:
        bench.runner.run(play(bench, poster, World(), batches))


def test_the_books_of_all_examples_hold(bench: Bench) -> None:
    """After everything above, every invariant of the whole book."""
    report = bench.runner.run(check_books(bench.reader))
    assert report.ok, report.violations[:5]
    assert all(totals.delta_minor == 0 for totals in report.currencies)
