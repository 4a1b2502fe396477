"""Zones and cut-offs: every instant counts to exactly one business day, also when the clocks change."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import Mode
from reconciliation.business_days import business_day, day_end
from reconciliation.terms import RailTerms, TermsFile, parse_terms

BERLIN = "Europe/Berlin"
CUT_OFFS = st.one_of(st.none(), st.times().filter(lambda one: one != time()))
ZONES = st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "Pacific/Apia"])


def test_rule_30_the_cut_off_of_the_rails_zone_decides_the_day() -> None:
    cut = time(23)
    after = datetime(2026, 11, 22, 22, tzinfo=UTC)
    before = after - timedelta(microseconds=1)
    assert business_day(before, BERLIN, cut) == date(2026, 11, 22)
    assert business_day(after, BERLIN, cut) == date(2026, 11, 23)
    assert business_day(after, "UTC", cut) == date(2026, 11, 22)
    assert business_day(after, BERLIN, None) == date(2026, 11, 22)


def test_rule_30_days_have_23_and_25_hours_when_the_clocks_change() -> None:
    cut = time(23)
    spring = day_end(date(2026, 3, 29), BERLIN, cut) - day_end(date(2026, 3, 28), BERLIN, cut)
    autumn = day_end(date(2026, 10, 25), BERLIN, cut) - day_end(date(2026, 10, 24), BERLIN, cut)
    assert (spring, autumn) == (timedelta(hours=23), timedelta(hours=25))
    # 22:30 of summer time on the day the clocks go back is the same UTC hour as 21:30 of winter time the day after.
    assert business_day(datetime(2026, 10, 24, 20, 59, tzinfo=UTC), BERLIN, cut) == date(2026, 10, 24)
    assert business_day(datetime(2026, 10, 24, 21, 0, tzinfo=UTC), BERLIN, cut) == date(2026, 10, 25)
    assert business_day(datetime(2026, 10, 25, 21, 59, tzinfo=UTC), BERLIN, cut) == date(2026, 10, 25)


@given(
    instant=st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)), zone=ZONES, cut=CUT_OFFS
)
def test_rule_30_every_instant_counts_to_one_day(instant: datetime, zone: str, cut: time | None) -> None:
    day = business_day(instant, zone, cut)
    assert day_end(day - timedelta(days=1), zone, cut) <= instant < day_end(day, zone, cut)
    assert business_day(day_end(day, zone, cut), zone, cut) > day


def test_rule_30_late_is_booked_for_a_later_day_than_due() -> None:
    terms = RailTerms(zone=BERLIN, cut_off=time(23), days_due=1)
    moved = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
    assert not terms.is_late(datetime(2026, 11, 23, 21, 59, tzinfo=UTC), moved)
    assert terms.is_late(datetime(2026, 11, 23, 22, 0, tzinfo=UTC), moved)


def test_terms_are_read_from_their_file_and_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "reconciliation.toml"
    terms = TermsFile(path)
    assert terms.of("card_gamma") == RailTerms() and terms.of("x").tolerance("EUR") == 0
    path.write_text('[card_gamma]\nzone = "Europe/Berlin"\ncut_off = "23:00"\ntolerance = 2\n')
    assert terms.of("card_gamma") == RailTerms(zone=BERLIN, cut_off=time(23), tolerance_minor=2)
    path.write_text("[card_gamma]\ngrace_hours = 7\n[card_gamma.tolerance_by_currency]\nJPY = 1\n")
    changed = terms.of("card_gamma")
    assert (changed.tolerance("JPY"), changed.tolerance("EUR"), changed.grace(Mode.LIVE)) == (1, 0, timedelta(hours=7))
    assert RailTerms().grace(Mode.LIVE) == timedelta(hours=24) and RailTerms().grace(Mode.TEST) == timedelta()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "x = 1",
        "[x]\nzone = 'Mars/Base'",
        "[x]\nzone = '../etc'",
        "[x]\nzone = 1",
        "[x]\ncut_off = '25:00'",
        "[x]\ncut_off = '00:00'",
        "[x]\ncut_off = '10:00+01:00'",
        "[x]\ntolerance = -1",
        "[x]\ntolerance = 0.5",
        "[x]\ntolerance = true",
        "[x]\nother = 1",
        "[x]\ntolerance_by_currency = { EURO = 1 }",
    ],
)
def test_terms_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_terms(text)
