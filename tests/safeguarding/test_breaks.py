"""Rule 31: shortfall and excess become breaks, carried from day to day with age and root cause until they are over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from api.safeguarding_schemas import StatedCause
from domain.identifiers import Mode
from domain.ledger import Posting, PostingResult
from domain.safeguarding import Finding, RootCause, finding_of
from domain.safeguarding_breaks import Break, Compared, age_days, next_change, resolved_by_person
from ledger.safeguarded import last_break
from ledger.safeguarding_alerts import refresh_break_alerts
from ledger.violations import remember
from operations.alert_formats import Alert, summary_of, to_alertmanager, to_pagerduty, to_webhook
from operations.safeguarding import bring_breaks_in_line, reconcile
from tests.safeguarding.conftest import Treasury

DAY = timedelta(days=1)
MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)


def day(number: int, difference: int | None, *, bank: str | None = None, at: datetime | None = None) -> Compared:
    """What was found on a day, counted from Monday; None: no statement."""
    return Compared(
        mode=Mode.LIVE,
        currency="EUR",
        bank=bank,
        reconciliation=f"sfr_{number}",
        at=at or MONDAY + number * DAY,
        finding=Finding.NO_STATEMENT if difference is None else finding_of(difference),
        difference_minor=difference or 0,
    )


def follow(last: Break | None, *found: Compared) -> list[Break]:
    """Every break's last state, oldest first, after these comparisons."""
    breaks = {} if last is None else {last.document["id"]: last}
    for compared in found:
        while (change := next_change(last, compared)) is not None:
            assert last is None or change.change == last.change + 1
            last = Break(document=change.document, version=change.version, change=change.change)
            breaks[change.document["id"]] = last
    return list(breaks.values())


@pytest.mark.parametrize(("difference", "kind"), [(-1, "shortfall"), (1, "excess")])
def test_rule_31_both_signs_become_a_break_that_is_carried_with_its_age(difference: int, kind: str) -> None:
    """The same one while the difference has its sign, whatever the amount; its age grows by the day."""
    (one,) = follow(None, day(0, difference), day(1, difference * 5), day(2, None), day(3, difference))
    shown = one.document
    assert (shown["kind"], shown["status"], shown["opened_by"], shown["last_found_by"]) == (
        *(kind, "open", "sfr_0"),
        "sfr_3",
    )
    assert (shown["times_found"], shown["first_difference"], shown["difference"]) == (3, difference, difference)
    assert [age_days(shown, MONDAY + days * DAY) for days in (0, 0.99, 1, 3, 10)] == [0, 0, 1, 3, 10]
    assert shown["root_cause"] == "unexplained"


def test_rule_31_a_break_ends_with_the_reconciliation_that_matches() -> None:
    """And the next difference is another break, of its own age."""
    first, second = follow(None, day(0, -50), day(1, 0), day(2, 0), day(3, -50))
    assert (first.document["status"], first.document["resolved_by"]) == ("resolved", "sfr_1")
    assert age_days(first.document, MONDAY + 100 * DAY) == 1
    assert second.open and second.document["opened_by"] == "sfr_3"


def test_a_difference_that_turns_its_sign_is_another_break() -> None:
    first, second = follow(None, day(0, -50), day(1, 20))
    assert (first.document["status"], first.document["kind"]) == ("resolved", "shortfall")
    assert (second.document["status"], second.document["kind"]) == ("open", "excess")


def test_what_was_taken_and_what_comes_too_late_changes_nothing() -> None:
    (one,) = follow(None, day(2, -50), day(2, -50), day(1, 0), day(0, -7))
    assert (one.version, one.document["times_found"], one.open) == (1, 1, True)


def resolve(last: Break, at: datetime) -> Break:
    """A person ends a break."""
    change = resolved_by_person(last, cause=RootCause.BOOKING_ERROR, note="put right", actor="api_key:x", at=at)
    return Break(document=change.document, version=change.version, change=change.change)


def test_rule_31_a_person_ends_a_break_and_the_next_reconciliation_checks() -> None:
    """Borne out it stays over; otherwise it is open again with the age it had. The stated cause stays."""
    (one,) = follow(None, day(0, -50))
    ended = resolve(one, MONDAY + timedelta(hours=2))
    assert follow(ended, day(0, -50, at=MONDAY + timedelta(hours=1))) == [ended]
    (again,) = follow(ended, day(1, -40))
    assert again.open and again.document["opened_at"] == one.document["opened_at"]
    assert (again.document["times_reopened"], again.document["root_cause"]) == (1, "booking_error")
    first, second = follow(ended, day(1, 0), day(2, -50))
    assert (first.document["resolved_by"], first.document["confirmed_by"]) == ("api_key:x", "sfr_1")
    assert second.document["opened_by"] == "sfr_2"


def test_causes_that_people_state_are_the_documented_ones() -> None:
    assert set(get_args(StatedCause)) == set(RootCause) - {RootCause.UNEXPLAINED}


async def test_rule_31_root_causes_are_proposed_where_figures_show_them(treasury: Treasury) -> None:
    """Unremitted funds, own fees, another customer's debt, a bank line nobody booked, and timing."""
    await treasury.open("acct_a", "acct_debtor")
    await treasury.capture("acct_a", 10_000, fee=200)
    assert (await treasury.run())["proposed_root_cause"] == "unremitted_funds"
    await treasury.remit(10_000)
    assert (await treasury.run())["proposed_root_cause"] == "own_fees"
    await treasury.move("acct_debtor", "acct_a", 700)
    assert (await treasury.run())["proposed_root_cause"] == "customer_debts"
    found = await treasury.breaks()
    assert [(one["kind"], one["status"], one["proposed_root_cause"]) for one in found] == [
        ("shortfall", "resolved", "unremitted_funds"),
        ("excess", "resolved", "own_fees"),
        ("shortfall", "open", "customer_debts"),
    ]
    assert {one["root_cause"] for one in found} == {"unexplained"}
    await treasury.state(9_985, await treasury.now(), lines=(10_000, -15))
    (bank,) = (await treasury.run())["bank_accounts"]
    assert (bank["difference"], bank["proposed_root_cause"]) == (-15, "unbooked_bank_line")


async def test_rule_31_timing_is_proposed_when_a_later_statement_has_the_line(treasury: Treasury) -> None:
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 9_000)
    await treasury.remit(9_000)
    await treasury.state(0, await treasury.now())
    await treasury.run()
    await treasury.state(9_000, await treasury.now(), lines=(9_000,))
    assert (await treasury.run())["status"] == "matched"
    (one,) = await treasury.breaks()
    assert (one["side"], one["bank"], one["status"], one["proposed_root_cause"]) == (
        *("external", "first", "resolved"),
        "timing",
    )


class DyingBook:
    """A book whose process dies before the n-th posting."""

    def __init__(self, treasury: Treasury, dies_before: int) -> None:
        self.treasury, self.left = treasury, dies_before

    async def post(self, posting: Posting) -> PostingResult:
        if self.left == 0:
            raise ConnectionError("killed")
        self.left -= 1
        return await self.treasury.poster.post(posting)


@pytest.mark.parametrize("dies_before", range(4))
async def test_rule_31_a_run_that_was_killed_is_taken_up_and_nothing_is_posted_twice(
    treasury: Treasury, dies_before: int
) -> None:
    """Wherever it dies: live mode, test mode, the first break, the second."""
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 100)
    await treasury.remit(50)
    await treasury.state(49, await treasury.now())
    at = await treasury.now()
    with pytest.raises(ConnectionError):
        await reconcile(treasury.connection, DyingBook(treasury, dies_before), at, treasury.terms)
    found = await treasury.run(at)
    await bring_breaks_in_line(treasury.connection, treasury.poster)
    assert (found["internal"], found["external"]) == ("shortfall", "shortfall")
    assert [(one["side"], one["times_found"]) for one in await treasury.breaks()] == [("internal", 1), ("external", 1)]
    rows = await treasury.connection.execute("SELECT action, count(*) FROM audit_records GROUP BY 1")
    counted = dict(await rows.fetchall())
    assert (counted["safeguarding.reconciled"], counted["safeguarding_break.opened"]) == (2, 2)


async def test_the_next_look_does_what_a_dead_run_left_undone(treasury: Treasury) -> None:
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 100)
    with pytest.raises(ConnectionError):
        await reconcile(treasury.connection, DyingBook(treasury, 2), await treasury.now(), treasury.terms)
    assert await treasury.breaks() == []
    await bring_breaks_in_line(treasury.connection, treasury.poster)
    assert [one["difference"] for one in await treasury.breaks()] == [-100]


async def test_two_runs_at_a_time_open_one_break(treasury: Treasury) -> None:
    """And a person who resolves it meanwhile is not overwritten: changes of a scope are numbered."""
    await treasury.open("acct_a")
    await treasury.capture("acct_a", 100)
    await treasury.run()
    (one,) = await treasury.breaks()
    stored = await last_break(treasury.connection, one["scope"])
    assert stored is not None
    carried = next_change(stored, replace(day(0, -100), at=datetime.now(UTC)))
    ended = resolve(stored, datetime.now(UTC))
    assert carried is not None and (ended.change, ended.version) == (carried.change, carried.version)
    assert (await treasury.poster.post(carried.posting())).refusal is None
    second = resolved_by_person(
        stored, cause=RootCause.TIMING, note="n", actor="api_key:x", at=datetime.now(UTC)
    ).posting()
    refused = (await treasury.poster.post(second)).refusal
    assert refused is not None and refused.code == "exists_with_different_facts"


async def alerts(treasury: Treasury) -> list[dict[str, Any]]:
    """The alerts about safeguarding."""
    rows = await treasury.connection.execute(
        "SELECT scope, firing, since, ended_at, violations, first_violations FROM ledger_alerts"
        " WHERE starts_with(scope, 'SAFEGUARDING')"
    )
    names = ("scope", "firing", "since", "ended_at", "violations", "first_violations")
    return [dict(zip(names, row, strict=True)) for row in await rows.fetchall()]


async def test_rule_31_an_old_break_raises_an_alert_until_it_is_over(treasury: Treasury) -> None:
    """Through the watch's own table, so that its loop tells people; the watch itself leaves it alone."""
    opened = next_change(None, replace(day(0, -8_420), at=datetime.now(UTC) - 3 * DAY - timedelta(minutes=1)))
    assert opened is not None
    assert (await treasury.poster.post(opened.posting())).refusal is None
    await refresh_break_alerts(treasury.connection, days=4)
    assert await alerts(treasury) == []
    for _ in range(2):
        await refresh_break_alerts(treasury.connection, days=3)
        await remember(treasury.connection, [], by="incremental", at=datetime.now(UTC))
    (row,) = await alerts(treasury)
    assert (row["scope"], row["firing"], row["violations"]) == ("SAFEGUARDING:EUR", True, 1)
    alert = Alert(**{**row, "first_violations": tuple(row["first_violations"])}, instance="http://l.test")
    assert "1 breaks of safeguarding in EUR have stood too long: shortfall of -8420 since" in summary_of(alert)
    assert to_webhook(alert)["alerts"][0]["labels"]["alertname"] == "SafeguardingBreakOld"
    assert to_alertmanager(alert, datetime.now(UTC))[0]["generatorURL"] == "http://l.test/v1/safeguarding/breaks"
    assert to_pagerduty(alert, "k")["payload"]["class"] == "SafeguardingBreakOld"
    stored = await last_break(treasury.connection, "live:EUR:internal")
    assert stored is not None
    end = resolved_by_person(stored, cause=RootCause.OTHER, note="topped up", actor="api_key:x", at=datetime.now(UTC))
    assert (await treasury.poster.post(end.posting())).refusal is None
    await refresh_break_alerts(treasury.connection, days=3)
    (row,) = await alerts(treasury)
    assert row["firing"] is False and row["ended_at"] is not None
