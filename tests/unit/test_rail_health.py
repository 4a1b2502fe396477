"""The circuit breaker on a clock of its own."""

from hypothesis import given
from hypothesis import strategies as st

from domain.rail import Outcome
from rails.health import BreakerSettings, RailHealth, Standing


class SetClock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def health_of(settings: BreakerSettings | None = None) -> tuple[RailHealth, SetClock]:
    clock = SetClock()
    return RailHealth(settings, clock=clock), clock


def run(health: RailHealth, outcome: Outcome, times: int = 1) -> None:
    for _ in range(times):
        health.note_sent("card_alpha")
        health.record("card_alpha", outcome)


def standing(health: RailHealth) -> Standing:
    return health.standings().get("card_alpha", Standing.CLOSED)


def test_declines_are_a_rail_at_work() -> None:
    health, _ = health_of()
    run(health, Outcome.DECLINED, 100)
    run(health, Outcome.PENDING, 100)
    assert standing(health) is Standing.CLOSED


def test_opens_on_enough_failures_and_recovers_through_probes() -> None:
    health, clock = health_of()
    run(health, Outcome.NOT_ATTEMPTED, 5)
    run(health, Outcome.UNKNOWN, 4)
    assert standing(health) is Standing.CLOSED
    run(health, Outcome.UNKNOWN)
    assert standing(health) is Standing.OPEN
    clock.seconds += 4.9
    assert standing(health) is Standing.OPEN
    clock.seconds += 0.2
    assert standing(health) is Standing.HALF_OPEN
    health.note_sent("card_alpha")
    assert standing(health) is Standing.OPEN, "one probe at a time"
    health.record("card_alpha", Outcome.APPROVED)
    assert standing(health) is Standing.HALF_OPEN
    run(health, Outcome.DECLINED)
    assert standing(health) is Standing.CLOSED


def test_failed_probe_opens_again_for_the_whole_time() -> None:
    health, clock = health_of()
    run(health, Outcome.UNKNOWN, 10)
    clock.seconds += 6
    run(health, Outcome.UNKNOWN)
    assert standing(health) is Standing.OPEN
    clock.seconds += 4.9
    assert standing(health) is Standing.OPEN
    clock.seconds += 0.2
    assert standing(health) is Standing.HALF_OPEN


def test_probe_that_never_reports_gives_its_place_back() -> None:
    health, clock = health_of()
    run(health, Outcome.UNKNOWN, 10)
    clock.seconds += 6
    health.note_sent("card_alpha")
    assert standing(health) is Standing.OPEN
    clock.seconds += 6
    assert standing(health) is Standing.HALF_OPEN


def test_few_failures_among_many_successes_or_long_ago_do_not_open() -> None:
    health, clock = health_of()
    run(health, Outcome.APPROVED, 50)
    run(health, Outcome.UNKNOWN, 49)
    assert standing(health) is Standing.CLOSED
    health, clock = health_of()
    for _ in range(20):
        run(health, Outcome.UNKNOWN)
        clock.seconds += 5
    assert standing(health) is Standing.CLOSED


def test_answers_of_orders_sent_before_it_opened_are_no_probes() -> None:
    health, clock = health_of()
    run(health, Outcome.UNKNOWN, 10)
    clock.seconds += 1
    for _ in range(5):
        health.record("card_alpha", Outcome.APPROVED)
    assert standing(health) is Standing.OPEN


def test_rails_do_not_share_a_breaker() -> None:
    health, _ = health_of()
    run(health, Outcome.UNKNOWN, 10)
    assert health.standings() == {"card_alpha": Standing.OPEN}


@given(st.lists(st.tuples(st.sampled_from(list(Outcome)), st.floats(0, 20)), max_size=80))
def test_breaker_never_stays_shut_for_ever(steps: list[tuple[Outcome, float]]) -> None:
    health, clock = health_of()
    for outcome, pause in steps:
        run(health, outcome)
        clock.seconds += pause
    clock.seconds += 5.1
    assert standing(health) is not Standing.OPEN
    run(health, Outcome.APPROVED, 2)
    assert standing(health) is Standing.CLOSED
