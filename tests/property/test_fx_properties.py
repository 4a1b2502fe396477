"""Random exchanges on the real ledger, batched and one by one, against a plain model of balances and quotes."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.fx_rates import RateFile
from domain.facts import CurrencyExchanged
from domain.fx import FxQuote, bought_minor, client_rate, round_rate, write_rate
from domain.identifiers import Mode, new_identifier
from domain.ledger import KeyClaim, Posting, RefusalCode
from domain.transfer import Transfer, TransferStatus
from ledger.invariants import check_books
from ledger.posting import Poster
from tests.conftest import TestDatabase
from tests.ledger.postings import World
from workflows.postings import transfer_posting

CURRENCIES = ("EUR", "JPY", "KWD", "USDC")
FUNDS = 1_000_000
NOW = datetime.now(UTC)
"""Quotes are good for an hour from here, by the clock the database has too."""
RATES = RateFile().read()


@dataclass(frozen=True)
class Wish:
    """An exchange as drawn; `again` picks a quote made before instead of asking for one."""

    sell: int
    buy: int
    amount: int
    spread: int
    again: int | None


WISHES = st.builds(
    Wish,
    sell=st.integers(0, 3),
    buy=st.integers(0, 3),
    amount=st.integers(1, 700_000),
    spread=st.integers(0, 300),
    again=st.none() | st.none() | st.integers(0, 4),
)
BATCHES = st.lists(st.lists(WISHES, min_size=1, max_size=6), min_size=1, max_size=5)


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


def quote_of(world: World, wish: Wish) -> FxQuote | None:
    """The quote of a wish; None where the amount buys nothing."""
    sell = CURRENCIES[wish.sell]
    buy = CURRENCIES[wish.buy if wish.buy != wish.sell else (wish.sell + 1) % len(CURRENCIES)]
    mid = RATES.mid(sell, buy)
    assert mid is not None
    rate = client_rate(mid, wish.spread)
    bought = bought_minor(wish.amount, rate, sell_currency=sell, buy_currency=buy)
    if bought == 0:
        return None
    return FxQuote(
        id=new_identifier("fxq"),
        merchant_id=world.merchant_id,
        mode=Mode.TEST,
        sell_currency=sell,
        sell_amount_minor=wish.amount,
        buy_currency=buy,
        buy_amount_minor=bought,
        fixed_side="sell",
        rate=write_rate(rate),
        mid_rate=write_rate(round_rate(mid)),
        spread_basis_points=wish.spread,
        rate_source=RATES.source,
        rate_as_of=RATES.as_of,
        created_at=NOW,
        expires_at=NOW + timedelta(hours=1),
    )


def posting_of(world: World, quote: FxQuote) -> Posting:
    """What the workflow commits for a new transfer at a quote."""
    transfer = Transfer(
        id=new_identifier("tr"),
        merchant_id=world.merchant_id,
        mode=Mode.TEST,
        amount_minor=quote.sell_amount_minor,
        currency=quote.sell_currency,
        source=f"acct_{quote.sell_currency.lower()}",
        destination=f"acct_{quote.buy_currency.lower()}",
        workflow_id="w",
        created_at=NOW,
        status=TransferStatus.SETTLED,
        version=1,
        fx_quote=quote,
    )
    fact = CurrencyExchanged(
        transfer_id=transfer.id,
        quote_id=quote.id,
        source=transfer.source,
        destination=transfer.destination,
        sell_amount_minor=quote.sell_amount_minor,
        sell_currency=quote.sell_currency,
        buy_amount_minor=quote.buy_amount_minor,
        buy_currency=quote.buy_currency,
    )
    claim = KeyClaim(
        key=transfer.id, fingerprint="f", route="r", request={}, object_kind="transfer", object_id=transfer.id
    )
    return transfer_posting(transfer, event="transfer.settled", facts=(fact,), claim=claim, actor="test")


async def sums(bench: Bench, world: World | None = None) -> dict[str, int]:
    """The sum of all posted balances of each currency: of one merchant's accounts, or of the whole book."""
    query = (
        "SELECT currency, sum(balance_minor)::bigint FROM accounts"
        " WHERE %s::text IS NULL OR merchant_id = %s GROUP BY currency"
    )
    merchant = world.merchant_id if world else None
    cursor = await bench.reader.execute(query, (merchant, merchant))
    return dict(await cursor.fetchall())


async def play(bench: Bench, poster: Poster, world: World, batches: list[list[Wish]]) -> None:
    """Post the batches and compare every answer, balance and quote with the model."""
    model = Counter(dict.fromkeys(CURRENCIES, FUNDS))
    await poster.post(world.opens(*(world.opening(f"bank_{one}", currency=one) for one in CURRENCIES)))
    names = {currency: f"acct_{currency.lower()}" for currency in CURRENCIES}
    await poster.post(world.opens(*(world.opening(names[one], least=0, currency=one) for one in CURRENCIES)))
    for one in CURRENCIES:
        await poster.post(world.move(f"bank_{one}", names[one], FUNDS, currency=one))
    quotes: list[FxQuote] = []
    users: dict[str, str] = {}
    for wishes in batches:
        chosen = []
        for wish in wishes:
            known = quotes[-1 - wish.again % len(quotes)] if wish.again is not None and quotes else None
            quote = known or quote_of(world, wish)
            if quote is not None:
                chosen.append(quote)
                quotes.append(quote)
        postings = [posting_of(world, quote) for quote in chosen]
        answers = await asyncio.gather(*(poster.post(posting) for posting in postings))
        for quote, posting, answer in zip(chosen, postings, answers, strict=True):
            code, transfer = answer.refusal.code if answer.refusal else None, posting.records[0].id
            if quote.id in users:
                assert code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS and transfer not in answer.documents
            elif model[quote.sell_currency] < quote.sell_amount_minor:
                assert code is RefusalCode.EXCEEDS_AVAILABLE_BALANCE
            else:
                assert code is None and len(answer.documents[transfer]["entries"]) == 4
                users[quote.id] = transfer
                model[quote.sell_currency] -= quote.sell_amount_minor
                model[quote.buy_currency] += quote.buy_amount_minor
            if code is None:
                again = await poster.post(posting)
                assert again.duplicate and again.entries == answer.entries
    own = await sums(bench, world)
    assert own == {one: model[one] - FUNDS for one in CURRENCIES}
    cursor = await bench.reader.execute(
        "SELECT id, document ->> 'transfer' FROM fx_quotes WHERE merchant_id = %s", (world.merchant_id,)
    )
    assert dict(await cursor.fetchall()) == users
    assert set((await sums(bench)).values()) == {0}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches=BATCHES)
def test_exchanges_do_what_the_model_does(bench: Bench, batches: list[list[Wish]]) -> None:
    """Refusals, balances and users of quotes; after each example every currency sums to zero by itself."""
    for poster in bench.posters:
        bench.runner.run(play(bench, poster, World(), batches))


def test_the_books_of_all_examples_hold(bench: Bench) -> None:
    """After everything above, every invariant of the whole book, and one conversion account a currency."""
    report = bench.runner.run(check_books(bench.reader))
    assert report.ok, report.violations[:5]
    assert {totals.currency: totals.delta_minor for totals in report.currencies} == dict.fromkeys(CURRENCIES, 0)
