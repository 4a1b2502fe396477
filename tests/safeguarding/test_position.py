"""Rule 31 on a real book: what counts, as of one instant, against books and banks' statements."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.facts import ChargebackReceived, OrphanReceived, PayoutStarted
from domain.fixed_time import FixedTime, read_fixed_time
from domain.identifiers import Mode
from domain.safeguarding import NOT_OWED, AccountSum, Position, propose_internal_cause
from ledger import chart
from ledger.posting import Poster
from ledger.safeguarded import positions_at
from operations.safeguarding import InstantToComeError, SafeguardingTerms, days_due, reconcile
from tests.conftest import TestDatabase
from tests.ledger.postings import World
from tests.safeguarding.conftest import Treasury

ACCOUNTS = ("acct_a", "acct_b", "acct_c", "acct_d")
MOVES = st.lists(
    st.tuples(st.permutations(range(4)).map(lambda drawn: drawn[:2]), st.integers(1, 10_000)), min_size=1, max_size=12
)


async def test_rule_31_the_requirement_is_what_is_owed_one_by_one(treasury: Treasury) -> None:
    """Customers, payouts in transit and suspense; a debt of one customer reduces nothing owed to another."""
    await treasury.open("acct_a", "acct_b", "acct_debtor")
    await treasury.capture("acct_a", 10_000, fee=150)
    await treasury.capture("acct_b", 5_000)
    world, currency = treasury.world, {"currency": "EUR", "rail": "alpha"}
    for fact in (
        ChargebackReceived(dispute_id="dp_1", account="acct_debtor", amount_minor=3_000, fee_minor=0, **currency),
        PayoutStarted(payout_id="po_1", account="acct_b", amount_minor=2_000, **currency),
        OrphanReceived(orphan_id="exc_1", amount_minor=700, taken=True, **currency),
    ):
        assert (await treasury.poster.post(world.stating(fact))).refusal is None
    await treasury.remit(12_000)
    found = await treasury.run()
    assert found["parts"]["owed"] == {
        "customer": 9_850 + 3_000,
        "merchant": 0,
        "payouts_in_transit": 2_000,
        "suspense": 700,
    }
    assert found["parts"]["not_counted"] == {"negative_balances": -3_000, "fee_revenue": 150}
    assert found["parts"]["owed_by_rails"] == {"alpha": 10_000 + 5_000 - 3_000 + 700 - 12_000}
    assert found["parts"]["kept_by_banks"] == {"first": 12_000}
    assert (found["requirement"], found["resource"], found["difference"]) == (15_550, 12_000, -3_550)
    assert (found["internal"], found["status"]) == ("shortfall", "shortfall")


async def test_rule_31_the_figures_are_of_the_instant_however_late_the_run(treasury: Treasury) -> None:
    """Postings and statements that come after the instant change nothing, and a repeated run writes nothing."""
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 8_420)
    await treasury.remit(8_420)
    at = await treasury.now()
    await treasury.state(1, at)
    await treasury.capture("acct_a", 100)
    await treasury.remit(50)
    late = await treasury.run(at)
    assert (late["requirement"], late["resource"], late["difference"]) == (8_420, 8_420, 0)
    assert (late["internal"], late["external"]) == ("matched", "no_statement")
    tables = ("safeguarding_reconciliations", "safeguarding_breaks", "audit_records", "ledger_transactions")
    before = [await treasury.count(table) for table in tables]
    again = await asyncio.gather(*(treasury.run(at) for _ in range(2)))
    assert again == [late, late] and before == [await treasury.count(table) for table in tables]
    now = await treasury.run()
    assert (now["requirement"], now["resource"]) == (8_520, 8_470)


async def test_rule_31_an_instant_to_come_is_not_reconciled(treasury: Treasury) -> None:
    await treasury.open("acct_a")
    with pytest.raises(InstantToComeError):
        await treasury.run(datetime.now(UTC) + timedelta(hours=1))
    assert await treasury.count("safeguarding_reconciliations") == 0


async def test_rule_31_the_bank_statement_is_held_against_the_books_of_its_instant(treasury: Treasury) -> None:
    """What was booked after the statement's instant is no difference, unless it counts from before it."""
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 9_000)
    await treasury.remit(5_000)
    night = await treasury.now()
    await treasury.remit(1_000)
    assert (await treasury.run())["external"] == "no_statement"
    statement = await treasury.state(5_000, night)
    found = await treasury.run()
    (bank,) = found["bank_accounts"]
    assert (bank["books"], bank["closing_balance"], bank["difference"], bank["statement"]) == (
        *(5_000, 5_000, 0),
        statement,
    )
    assert (found["external"], found["internal"], found["resource"]) == ("matched", "shortfall", 6_000)
    # A bank's charge of the evening, booked this morning with the evening's date.
    world = treasury.world
    charge = world.movement("x", "y", 30, effective_at=night - timedelta(seconds=1))
    codes = {"debit_account": "rail_cost:alpha:EUR:live", "credit_account": "safeguarding:first:EUR:live"}
    openings = [chart.opening_of(one, "EUR", merchant_id="", mode=Mode.LIVE) for one in codes.values()]
    movement = type(charge)(**{name: getattr(charge, name) for name in charge.__slots__} | codes)
    posting = world.posting(movement, accounts=tuple(one for one in openings if one is not None))
    assert (await treasury.poster.post(posting)).refusal is None
    (bank,) = (await treasury.run())["bank_accounts"]
    assert (bank["books"], bank["difference"], bank["status"]) == (4_970, 30, "excess")


async def test_rule_31_a_corrected_statement_takes_the_place_of_the_old_one(treasury: Treasury) -> None:
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 500)
    await treasury.remit(500)
    night = await treasury.now()
    wrong = await treasury.state(400, night)
    first = await treasury.run()
    assert (first["external"], first["bank_accounts"][0]["difference"]) == ("shortfall", -100)
    between = await treasury.now()
    right = await treasury.state(500, night, corrects=wrong)
    assert (await treasury.run())["bank_accounts"][0]["statement"] == right
    # As of before the correction was known, the old one counted, and still does.
    assert (await treasury.run(between))["bank_accounts"][0]["statement"] == wrong


async def test_rule_31_statements_and_reconciliations_are_for_ever(
    treasury: Treasury, fresh_database: TestDatabase
) -> None:
    """Nobody may change or remove one: not the worker, not the owner, not a superuser; and the watch minds that."""
    await treasury.open("acct_a")
    await treasury.state(77, await treasury.now())
    await treasury.run()
    for url, refusal in (
        (fresh_database.app_url, psycopg.errors.InsufficientPrivilege),
        (fresh_database.admin_url, psycopg.errors.RestrictViolation),
    ):
        for table in ("safeguarding_statements", "safeguarding_reconciliations"):
            for change in (f"UPDATE {table} SET document = '{{}}'", f"DELETE FROM {table}"):
                async with await psycopg.AsyncConnection.connect(url) as connection:
                    with pytest.raises(refusal):
                        await connection.execute(change.encode())
    rows = await treasury.connection.execute(
        "SELECT relation FROM ledger_guards() WHERE in_force AND relation LIKE 'safeguarding%' ORDER BY 1"
    )
    assert await rows.fetchall() == [("safeguarding_reconciliations",), ("safeguarding_statements",)]


async def test_rule_31_an_old_statement_says_nothing_about_today(treasury: Treasury) -> None:
    await treasury.open("acct_a")
    await treasury.state(77, await treasury.now(), bank="second")
    assert (await treasury.run())["bank_accounts"][0]["status"] == "excess"
    treasury.terms = SafeguardingTerms(statement_age_max=timedelta(microseconds=1))
    found = await reconcile(treasury.connection, treasury.poster, await treasury.now(), treasury.terms)
    assert [(one["currency"], one["external"], one["bank_accounts"]) for one in found] == [("EUR", "matched", [])]


async def test_modes_and_currencies_do_not_meet(treasury: Treasury) -> None:
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 1_000)
    test = Treasury(treasury.poster, treasury.connection, world=World(treasury.world.merchant_id))
    await test.open("acct_a")
    await test.capture("acct_a", 30)
    found = await reconcile(treasury.connection, treasury.poster, await treasury.now(), treasury.terms)
    assert {(one["mode"], one["requirement"]) for one in found} == {("live", 1_000), ("test", 30)}


def test_every_account_of_the_chart_was_thought_of() -> None:
    """What a new role is has to be said: until then it counts as owed."""
    owed = {"payouts_in_transit", "suspense"}
    named = {"system_account", "is_system_account", "opening_of", "account_code", "default_account_id"}
    roles = {name for name, one in vars(chart).items() if callable(one) and name.islower()} - named
    assert roles == NOT_OWED | owed


async def test_rule_31_every_day_is_due_once_and_missed_days_are_made_up_for(treasury: Treasury) -> None:
    """After an outage of days, oldest first; never days from before anybody kept books."""
    terms = treasury.terms
    latest = next(terms.fixed_time.latest(datetime.now(UTC)))
    assert await days_due(treasury.connection, datetime.now(UTC), terms) == []
    await reconcile(treasury.connection, treasury.poster, terms.fixed_time.instant(latest), terms)
    await treasury.open("acct_a")
    later = terms.fixed_time.instant(latest + timedelta(days=3)) + timedelta(minutes=1)
    due = await days_due(treasury.connection, later, terms)
    assert due == [latest + timedelta(days=days) for days in (1, 2, 3)]


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("written", ["00:00", "01:30", "02:15", "09:00", "23:59"])
def test_rule_31_every_day_has_one_instant_whatever_clocks_do(zone: str, written: str) -> None:
    """Days of 23 and 25 hours too: one instant each, later than the day before's, at that time where there is one."""
    fixed = read_fixed_time(written, zone)
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(400)]
    instants = [fixed.instant(day) for day in days]
    assert instants == sorted(set(instants))
    for day, at in zip(days, instants, strict=True):
        assert fixed.day_of(at) == day and fixed.day_of(at + timedelta(microseconds=1)) is None
        assert next(fixed.latest(at)) == day
        assert next(fixed.latest(at - timedelta(microseconds=1))) == day - timedelta(days=1)
        local = at.astimezone(ZoneInfo(zone))
        exists = datetime.combine(day, time(fixed.hour, fixed.minute), ZoneInfo(zone))
        if exists.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == exists.replace(tzinfo=None):
            assert (local.date(), local.hour, local.minute) == (day, fixed.hour, fixed.minute)


@pytest.mark.parametrize(("written", "zone"), [("9:00", "UTC"), ("24:00", "UTC"), ("09:00", "Mars/Olympus"), ("", "")])
def test_a_time_that_is_none_is_refused(written: str, zone: str) -> None:
    with pytest.raises(ValueError, match="time"):
        read_fixed_time(written, zone)


def test_london_keeps_nine_o_clock() -> None:
    nine = FixedTime(hour=9, minute=0, zone="Europe/London")
    assert nine.instant(date(2026, 3, 28)) == datetime(2026, 3, 28, 9, tzinfo=UTC)
    assert nine.instant(date(2026, 3, 29)) == datetime(2026, 3, 29, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def bench(database: TestDatabase) -> Iterator[tuple[asyncio.Runner, Poster, psycopg.AsyncConnection]]:
    """A loop, a poster and a connection for the module."""
    with asyncio.Runner() as runner:
        poster = Poster(database.app_url)
        runner.run(poster.start())
        reader = runner.run(psycopg.AsyncConnection.connect(database.app_url, autocommit=True))
        yield runner, poster, reader
        runner.run(reader.close())
        runner.run(poster.stop())


@given(moves=MOVES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rule_31_the_requirement_is_the_sum_of_positive_balances(
    bench: tuple[asyncio.Runner, Poster, psycopg.AsyncConnection], moves: list[tuple[list[int], int]]
) -> None:
    """Whatever is moved between whom: what an account book kept on paper says, and what an earlier instant said."""
    runner, poster, reader = bench
    treasury = Treasury(poster, reader)

    async def follow() -> None:
        start = await treasury.now()
        (before,) = await positions_of(treasury, start) or [None]
        paper: dict[str, int] = defaultdict(int)
        await treasury.open(*ACCOUNTS)
        for (debit, credit), amount in moves:
            await treasury.move(ACCOUNTS[debit], ACCOUNTS[credit], amount)
            paper[ACCOUNTS[debit]] -= amount
            paper[ACCOUNTS[credit]] += amount
        (after,) = await positions_of(treasury, await treasury.now())
        owed = sum(balance for balance in paper.values() if balance > 0)
        earlier = before.requirement_minor if before is not None else 0
        assert after.requirement_minor - earlier == owed
        assert after.resource_minor == 0 and after.difference_minor == -after.requirement_minor
        assert await positions_of(treasury, start) == ([] if before is None else [before])

    async def positions_of(treasury: Treasury, at: datetime):
        return await positions_at(reader, Mode.LIVE, at, statement_age_max=timedelta(days=1))

    runner.run(follow())


@pytest.mark.parametrize(
    ("owed_by_rails", "debts", "difference", "cause"),
    [
        (100, 0, -100, "unremitted_funds"),
        (100, 500, -100, "unremitted_funds"),
        (99, 100, -100, "customer_debts"),
        (80, 30, -100, "unremitted_funds"),
        (30, 80, -100, "customer_debts"),
        (30, 60, -100, None),
        (100, 100, 0, None),
    ],
)
def test_a_cause_is_proposed_that_covers_the_shortfall(
    owed_by_rails: int, debts: int, difference: int, cause: str | None
) -> None:
    """Alone, or as the largest of what covers it together."""

    def sums(kind: str, positive: int, negative: int, *, owned: bool = False) -> AccountSum:
        return AccountSum(
            mode=Mode.LIVE,
            currency="EUR",
            owned=owned,
            kind=kind,
            detail="alpha",
            positive_minor=positive,
            negative_minor=negative,
            accounts=1,
        )

    position = Position(
        mode=Mode.LIVE,
        currency="EUR",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        sums=(
            sums("customer", 1_000, -debts, owned=True),
            sums("rail_clearing", 0, -owed_by_rails),
            sums("safeguarding", 0, -1_000 - difference),
        ),
        banks=(),
    )
    assert position.difference_minor == difference and propose_internal_cause(position) == cause
