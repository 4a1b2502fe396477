"""The worker's activities over a real database: what a look does by itself, and a day's run."""

from datetime import UTC, datetime

from psycopg_pool import AsyncConnectionPool

from activities.safeguarding import SafeguardingActivities
from domain.fixed_time import read_fixed_time
from operations.safeguarding import SafeguardingTerms
from settings import Settings
from tests.conftest import TestDatabase
from tests.safeguarding.conftest import Treasury
from worker import safeguarding_terms
from workflows.safeguarding_ports import SafeguardDay


async def test_a_look_and_a_day(treasury: Treasury, fresh_database: TestDatabase) -> None:
    """Nothing is due while the book is younger than the last fixed time; a day's run is one a mode and currency."""
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 500)
    async with AsyncConnectionPool(fresh_database.app_url, min_size=1, max_size=2, kwargs={"autocommit": True}) as pool:
        activities = SafeguardingActivities(pool=pool, book=treasury.poster, terms=treasury.terms)
        assert (await activities.safeguarding_due()).days == ()
        day = SafeguardDay(day="2026-11-26", at=await treasury.now())
        assert [await activities.reconcile_safeguarding(day) for _ in range(2)] == [1, 1]
        assert (await activities.safeguarding_due()).days == ()
    (one,) = await treasury.breaks()
    assert (one["difference"], one["times_found"]) == (-500, 1)


async def test_rule_31_the_fixed_time_of_a_day_is_on_its_reconciliation(treasury: Treasury) -> None:
    """A run at any other instant belongs to no day."""
    await treasury.open("acct_a")
    assert (await treasury.run())["day"] is None
    now = await treasury.now()
    fixed = read_fixed_time(f"{now:%H:%M}", "UTC")
    instant = fixed.instant(now.date())
    assert fixed.day_of(instant) == now.date() and instant <= now
    treasury.terms = SafeguardingTerms(fixed_time=fixed)
    row = "INSERT INTO accounts (code, merchant_id, mode, currency, kind, created_at) VALUES"
    # An account from before the minute began, as every account is on any day but its first.
    await treasury.connection.execute(
        f"{row} (%s, 'mer_old', 'live', 'USD', 'customer', %s)".encode(), ("mer_old/live/acct_o", instant)
    )
    treasury.currency = "USD"
    found = await treasury.run(instant)
    assert (found["day"], found["at"]) == (now.date().isoformat(), f"{instant:%Y-%m-%dT%H:%M:%S.%fZ}")


def test_the_time_is_configured() -> None:
    settings = Settings(safeguarding_time="17:30", safeguarding_zone="Europe/Dublin", safeguarding_alert_days=1)
    terms = safeguarding_terms(settings)
    assert terms.fixed_time.instant(datetime(2026, 7, 1).date()) == datetime(2026, 7, 1, 16, 30, tzinfo=UTC)
    assert terms.alert_days == 1
