"""Which rails an order may go to at all, and when their money is final: amounts, brands, cut-offs, bank holidays."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from domain.intervals import wilson_interval
from rails.adapter import AmountLimits, profile_document
from rails.adapters.sandbox.profiles import SANDBOX_PROFILES
from rails.banking_days import CutOff, is_banking_day, seconds_until_taken

ALPHA = SANDBOX_PROFILES[0]
BERLIN = ZoneInfo("Europe/Berlin")
CUT_OFF = CutOff(at=time(16), zone="Europe/Berlin")
HOUR = 3_600


def test_limits_and_brands() -> None:
    limits = {"EUR": AmountLimits(smallest_minor=100, largest_minor=1_500_000)}
    rail = replace(ALPHA, amount_limits=limits, brands=frozenset({"visa"}))
    assert [rail.takes("EUR", amount) for amount in (99, 100, 1_500_000, 1_500_001)] == [False, True, True, False]
    assert rail.takes("GBP", 1) and rail.takes("EUR")
    assert rail.takes("EUR", 100, "visa") and not rail.takes("EUR", 100, "amex")
    assert rail.takes("EUR", 100, "") and rail.takes("EUR", 100, None)
    assert profile_document(rail)["amount_limits"] == {"EUR": {"smallest": 100, "largest": 1_500_000}}


def test_good_friday_and_labour_day_are_no_banking_days_in_europe() -> None:
    closed = [date(2026, 4, 3), date(2026, 4, 6), date(2026, 5, 1), date(2026, 12, 25), date(2026, 11, 22)]
    assert not any(is_banking_day(day, "ECB") for day in closed)
    assert is_banking_day(date(2026, 11, 23), "ECB")


def test_after_the_cut_off_an_order_waits_for_the_next_banking_day() -> None:
    thursday = datetime(2026, 4, 2, 17, tzinfo=BERLIN)
    assert seconds_until_taken(CUT_OFF, datetime(2026, 4, 2, 15, 59, tzinfo=BERLIN)) == 0
    # Good Friday, the weekend, Easter Monday: until Tuesday.
    assert seconds_until_taken(CUT_OFF, thursday) == (7 + 4 * 24) * HOUR
    rail = replace(ALPHA, cut_off=CUT_OFF)
    assert rail.final_after_seconds(thursday) == (7 + 4 * 24) * HOUR + ALPHA.settlement_seconds
    assert ALPHA.final_after_seconds(thursday) == ALPHA.settlement_seconds
    assert profile_document(rail)["cut_off"] == {"at": "16:00", "zone": "Europe/Berlin", "calendar": "ECB"}


def test_the_night_the_clocks_change_is_an_hour_shorter() -> None:
    saturday = datetime(2027, 3, 27, 12, tzinfo=BERLIN)
    # The rest of Saturday, a Sunday of 23 hours, Easter Monday.
    assert seconds_until_taken(CUT_OFF, saturday) == (12 + 23 + 24) * HOUR


def test_a_desk_that_opens_late_waits_in_the_morning() -> None:
    desk = CutOff(at=time(16), zone="UTC", opens_at=time(8))
    assert seconds_until_taken(desk, datetime(2026, 11, 23, 6, tzinfo=UTC)) == 2 * HOUR


def test_an_interval_says_how_little_is_known() -> None:
    low, high = wilson_interval(90, 100)
    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(3, 3)[1] == 1.0 and wilson_interval(0, 3)[0] == 0.0
