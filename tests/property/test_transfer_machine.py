"""A state machine of transfers: held, posted in parts, voided, expired, reversed, exchanged; limits that change."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from domain.facts import (
    CurrencyExchanged,
    Fact,
    TransferHeld,
    TransferMade,
    TransferPosted,
    TransferReleased,
    TransferReversed,
)
from domain.ledger import AccountChange, Posting, PostingResult, Record, RecordKind, RefusalCode
from ledger.balances import Balance, balance_at
from ledger.invariants import check_books
from ledger.posting import Poster
from tests.conftest import TestDatabase
from tests.ledger.postings import World
from tests.property.book_model import TransferModel

IN_USD = "acct_usd"
ACCOUNTS = ("acct_bank", "acct_a", "acct_b")
SIDES = st.permutations(ACCOUNTS).map(lambda drawn: drawn[:2])
AMOUNTS = st.integers(1, 120)
PICKS = st.integers(0, 50)
EDGES = st.sampled_from([None, None, 0, 1])
"""How far beyond what the limits of both sides leave; None: wherever the amount lies."""

FUNDS = 100


@dataclass
class Bench:
    """A poster and a connection on one event loop."""

    runner: asyncio.Runner
    poster: Poster
    reader: psycopg.AsyncConnection


@pytest.fixture(scope="module")
def bench(database: TestDatabase) -> Iterator[Bench]:
    """One for the module."""
    with asyncio.Runner() as runner:
        poster = Poster(database.app_url)
        runner.run(poster.start())
        reader = runner.run(psycopg.AsyncConnection.connect(database.app_url, autocommit=True))
        yield Bench(runner, poster, reader)
        runner.run(reader.close())
        runner.run(poster.stop())


class TransferMachine(RuleBasedStateMachine):
    """Does to the ledger and to the model the same, and compares after every step."""

    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.model = TransferModel()
        self.made: list[tuple[Posting, PostingResult]] = []
        self.stated = 0
        self.versions = dict.fromkeys(ACCOUNTS, 1)
        self.asked: list[tuple[str, datetime, Balance]] = []
        openings = []
        for account, (least, most) in zip(ACCOUNTS, ((None, None), (0, None), (-20, 300)), strict=True):
            self.model.open(account, least, most)
            openings.append(self.world.opening(account, least=least, most=most))
        self.model.open(IN_USD, None, 500)
        openings.append(self.world.opening(IN_USD, most=500, currency="USD"))
        self.bench.runner.run(self.bench.poster.post(self.world.opens(*openings)))
        for account in ACCOUNTS[1:]:
            # Money on both from the start: otherwise most wishes end at the first limit.
            self.transfer([ACCOUNTS[0], account], FUNDS, None)

    def _post(self, posting: Posting, expected: RefusalCode | None) -> None:
        result = self.bench.runner.run(self.bench.poster.post(posting))
        assert (result.refusal.code if result.refusal else None) == expected, (posting, result)
        if result.refusal is None:
            assert not result.duplicate
            self.made.append((posting, result))

    def _state(self, fact: Fact, expected: RefusalCode | None) -> None:
        self.stated += 1
        self._post(self.world.stating(fact, key=f"{self.world.merchant_id}:op{self.stated}:1"), expected)

    def _new_name(self) -> str:
        return f"tr_{self.world.merchant_id}_{len(self.model.transfers)}"

    def _pick(self, number: int) -> str:
        names = list(self.model.transfers)
        return names[number % len(names)]

    def _at_the_edge(self, sides: list[str], amount: int, edge: int | None) -> int:
        """Return what just fits, or is just too much, by the limits of both sides and what is held."""
        debit, credit = (self.model.accounts[side] for side in sides)
        room = [] if debit.least is None else [debit.posted - debit.pending_debits - debit.least]
        room += [] if credit.most is None else [credit.most - credit.posted - credit.pending_credits]
        return amount if edge is None or not room or min(room) + edge < 1 else min(room) + edge

    @rule(sides=SIDES, amount=AMOUNTS, edge=EDGES)
    def transfer(self, sides: list[str], amount: int, edge: int | None) -> None:
        name, amount = self._new_name(), self._at_the_edge(sides, amount, edge)
        fact = TransferMade(
            transfer_id=name, source=sides[0], destination=sides[1], amount_minor=amount, currency="EUR"
        )
        self._state(fact, self.model.transfer(name, sides[0], sides[1], amount))

    @rule(sides=SIDES, amount=AMOUNTS, edge=EDGES, seconds=st.integers(1, 12))
    def hold(self, sides: list[str], amount: int, edge: int | None, seconds: int) -> None:
        name, amount = self._new_name(), self._at_the_edge(sides, amount, edge)
        fact = TransferHeld(
            transfer_id=name, source=sides[0], destination=sides[1], amount_minor=amount, currency="EUR"
        )
        self._state(fact, self.model.hold(name, sides[0], sides[1], amount, seconds))

    @precondition(lambda self: self.model.transfers)
    @rule(number=PICKS, amount=AMOUNTS, final=st.booleans())
    def post_hold(self, number: int, amount: int, final: bool) -> None:
        name = self._pick(number)
        if number % 4 and (held := [name for name, one in self.model.transfers.items() if one.left]):
            name = held[number % len(held)]
        one = self.model.transfers[name]
        if amount % 4 and one.left:
            amount = 1 + amount % one.left
        fact = TransferPosted(
            transfer_id=name,
            source=one.source,
            destination=one.destination,
            amount_minor=amount,
            currency="EUR",
            post=str(len(self.made)),
            final=final,
        )
        self._state(fact, self.model.post_hold(name, amount, final=final))

    @precondition(lambda self: any(one.expires for one in self.model.transfers.values()))
    @rule(number=PICKS)
    def void(self, number: int) -> None:
        held = [name for name, one in self.model.transfers.items() if one.expires]
        name = held[number % len(held)]
        if self.model.transfers[name].left:
            self._release(name)

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        """The timers: every hold whose time is over is released, a hold that ended before is not there."""
        self.model.now += seconds
        for name in self.model.due():
            self._release(name)

    def _release(self, name: str) -> None:
        one = self.model.transfers[name]
        fact = TransferReleased(
            transfer_id=name,
            source=one.source,
            destination=one.destination,
            amount_minor=one.left,
            currency="EUR",
        )
        self._state(fact, self.model.release(name))

    @precondition(lambda self: any(one.moved for one in self.model.transfers.values()))
    @rule(number=PICKS)
    def reverse(self, number: int) -> None:
        moved = [name for name, one in self.model.transfers.items() if one.moved and not one.left]
        if not moved:
            return
        name = moved[number % len(moved)]
        one = self.model.transfers[name]
        fact = TransferReversed(
            transfer_id=name,
            reversal_id=f"{name}_back{len(self.made)}",
            source=one.destination,
            destination=one.source,
            amount_minor=one.moved,
            currency="EUR",
        )
        self._state(fact, self.model.reverse(name))

    @rule(account=st.sampled_from(ACCOUNTS), amount=AMOUNTS, rate=st.integers(1, 3), pick=PICKS)
    def exchange(self, account: str, amount: int, rate: int, pick: int) -> None:
        """Sell EUR for USD at a quote: a new one, one used before, or one whose time is over."""
        quotes = list(self.model.quotes)
        again, expired = bool(quotes) and pick % 4 == 0, pick % 5 == 0
        quote = quotes[pick % len(quotes)] if again else f"fxq_{self.world.merchant_id}_{len(self.made)}_{pick}"
        self.stated += 1
        fact = CurrencyExchanged(
            transfer_id=f"tr_{self.world.merchant_id}_x{self.stated}",
            quote_id=quote,
            source=account,
            destination=IN_USD,
            sell_amount_minor=amount,
            sell_currency="EUR",
            buy_amount_minor=amount * rate,
            buy_currency="USD",
        )
        ends = datetime.now(UTC) + timedelta(hours=-1 if expired else 1)
        document = {"id": quote, "status": "used", "expires_at": ends.isoformat()}
        used = Record(kind=RecordKind.FX_QUOTE, id=quote, version=2, document=document)
        posting = self.world.stating(fact, key=f"{self.world.merchant_id}:op{self.stated}:1", records=(used,))
        self._post(posting, self.model.exchange(quote, (account, IN_USD), (amount, amount * rate), expired=expired))

    @rule(
        account=st.sampled_from(ACCOUNTS),
        status=st.sampled_from(["open"] * 6 + ["frozen", "closed"]),
        least=st.none() | st.integers(-100, 100),
        most=st.none() | st.integers(0, 400),
    )
    def change_terms(self, account: str, status: str, least: int | None, most: int | None) -> None:
        version, code = self.versions[account] + 1, self.world.code(account)
        expected = self.model.change(account, status, least, most)
        document = {"code": code, "currency": "EUR", "kind": "customer", "status": status}
        posting = self.world.posting(
            key=f"{code}:terms:{version}:{len(self.made)}:{status}:{least}:{most}",
            records=(Record(kind=RecordKind.ACCOUNT, id=code, version=version, document=document),),
            account_change=AccountChange(
                code=code,
                version=version,
                status=status,
                name=None,
                min_balance_minor=least,
                max_balance_minor=most,
            ),
        )
        self._post(posting, expected)
        if expected is None:
            self.versions[account] = version

    @precondition(lambda self: self.made)
    @rule(number=PICKS)
    def repeat(self, number: int) -> None:
        """Whatever was posted is posted again: the first result, and nothing moves."""
        posting, first = self.made[number % len(self.made)]
        again = self.bench.runner.run(self.bench.poster.post(posting))
        assert again.duplicate and again.entries == first.entries

    @rule(account=st.sampled_from(ACCOUNTS))
    def ask(self, account: str) -> None:
        """Remember an answer by recorded time, to be asked again at the end."""
        code = self.world.code(account)
        balance = self.bench.runner.run(balance_at(self.bench.reader, code))
        assert balance is not None
        self.asked.append((code, balance.at, balance))

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        self.bench.runner.run(self._compare())

    async def _compare(self) -> None:
        for account, expected in self.model.accounts.items():
            cursor = await self.bench.reader.execute(
                "SELECT a.balance_minor, a.pending_debits_minor, a.pending_credits_minor, a.status,"
                " array(SELECT e.balance_minor FROM entries e WHERE e.account_id = a.id ORDER BY e.sequence)"
                " FROM accounts a WHERE a.code = %s",
                (self.world.code(account),),
            )
            row = await cursor.fetchone()
            assert row == (
                expected.posted,
                expected.pending_debits,
                expected.pending_credits,
                self.model.statuses[account],
                expected.history,
            )
        in_eur = sum(account.posted for name, account in self.model.accounts.items() if name != IN_USD)
        assert in_eur + self.model.converted["EUR"] == 0
        assert self.model.accounts[IN_USD].posted + self.model.converted["USD"] == 0

    def teardown(self) -> None:
        for code, at, balance in self.asked:
            assert self.bench.runner.run(balance_at(self.bench.reader, code, at)) == balance


def test_transfers_do_what_the_model_does(bench: Bench) -> None:
    """Holds, posts in parts, voids, expiry, reversals, exchanges, limits and terms that change, repetitions."""
    machine = type("BoundMachine", (TransferMachine,), {"bench": bench})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_books_of_all_examples_hold(bench: Bench) -> None:
    """After everything above, every invariant of the whole book."""
    report = bench.runner.run(check_books(bench.reader))
    assert report.ok, report.violations[:5]
