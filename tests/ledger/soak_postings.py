"""What the soak posts: a posting for every number, the same whenever it is asked for, and what must come of all."""

from dataclasses import dataclass

from domain.facts import CurrencyExchanged
from domain.ledger import Phase, Posting
from tests.ledger.postings import World

BANK, HOT, OTHER, DOLLARS = "bank", "acct_hot", "acct_other", "acct_dollars"
FUNDS_MINOR = 10_000_000
MOVEMENTS_OF_TEN = 12
"""Of ten postings in a row two have two movements."""


def openings(world: World) -> list[Posting]:
    """Return what is posted first: one account everybody posts to, with a limit that is checked and never met."""
    return [
        world.opens(
            world.opening(BANK),
            world.opening(HOT, least=0),
            world.opening(OTHER, most=FUNDS_MINOR * 10),
            world.opening(DOLLARS, currency="USD"),
        ),
        world.move(BANK, HOT, FUNDS_MINOR, key=f"{world.merchant_id}:funds"),
    ]


def key_of(world: World, worker: int, number: int) -> str:
    """Return the key of a posting."""
    return f"{world.merchant_id}:{worker}:{number}:1"


def posting_of(world: World, worker: int, number: int) -> Posting:
    """Return the posting of a number: most credit or debit the hot account, some hold, post a hold, exchange."""
    name, key, kind = f"{world.merchant_id}:{worker}:{number}", key_of(world, worker, number), number % 10
    if kind < 5:
        return world.posting(world.movement(BANK, HOT, 1 + number % 7, key=f"{name}:in"), key=key)
    if kind < 8:
        return world.posting(world.movement(HOT, OTHER, 1 + number % 3, key=f"{name}:out"), key=key)
    if kind == 8:
        return world.posting(
            world.movement(HOT, OTHER, 5, key=f"{name}:hold", phase=Phase.HOLD),
            world.movement(HOT, OTHER, 2, key=f"{name}:post", phase=Phase.POST_HOLD, hold_key=f"{name}:hold"),
            key=key,
        )
    fact = CurrencyExchanged(
        transfer_id=name,
        quote_id=f"{name}:quote",
        source=HOT,
        destination=DOLLARS,
        sell_amount_minor=3,
        sell_currency="EUR",
        buy_amount_minor=4,
        buy_currency="USD",
    )
    return world.posting(facts=(fact,), key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Posted balances and pending debits after every posting of every worker happened exactly once."""

    postings: int
    movements: int
    hot: int
    hot_pending: int
    other: int
    dollars: int


def expected_of(workers: int, postings_each: int) -> Expected:
    """Return what the books must say, counted without the ledger."""
    numbers = range(postings_each)
    credits = sum(1 + number % 7 for number in numbers if number % 10 < 5)
    debits = sum(1 + number % 3 for number in numbers if 5 <= number % 10 < 8)
    held = sum(number % 10 == 8 for number in numbers)
    exchanged = sum(number % 10 == 9 for number in numbers)
    return Expected(
        postings=workers * postings_each,
        movements=workers * (postings_each + held + exchanged),
        hot=FUNDS_MINOR + workers * (credits - debits - 2 * held - 3 * exchanged),
        hot_pending=workers * 3 * held,
        other=workers * (debits + 2 * held),
        dollars=workers * 4 * exchanged,
    )
