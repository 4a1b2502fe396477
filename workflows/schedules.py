"""What repeats by itself: one row a Temporal Schedule on queue `background`."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One schedule. `id` is a wire contract; a run is skipped while the one before it is still under way.

    Exactly one of `every` (an interval) and `daily_at_utc` (an hour and a minute).
    """

    id: str
    workflow: str
    note: str
    every: timedelta | None = None
    daily_at_utc: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        assert (self.every is None) != (self.daily_at_utc is None)


SCHEDULES: tuple[ScheduleRow, ...] = (
    ScheduleRow(
        id="ledger-periods",
        workflow="LedgerPeriodsWorkflow",
        note="Makes partitions of the ledger for the months to come.",
        daily_at_utc=(1, 15),
    ),
    ScheduleRow(
        id="rail-inbox",
        workflow="RailInboxWorkflow",
        note="Collects what rails don't send and brings to its order what is not through yet.",
        every=timedelta(seconds=30),
    ),
    ScheduleRow(
        id="reconciliation",
        workflow="ResumeFilesWorkflow",
        note="Starts the run of files that were stored by a process that died before it could.",
        every=timedelta(minutes=1),
    ),
    ScheduleRow(
        id="ledger-watch",
        workflow="WatchBooksWorkflow",
        note="Keeps the invariant watch running; it looks every few seconds (LEDGERLINE_WATCH_SECONDS).",
        every=timedelta(minutes=1),
    ),
    ScheduleRow(
        id="ledger-proof",
        workflow="ProveBooksWorkflow",
        note="Proves every rule over the whole book.",
        daily_at_utc=(2, 30),
    ),
    ScheduleRow(
        id="safeguarding",
        workflow="SafeguardingDaysWorkflow",
        note="Reconciles each day whose fixed time has come (LEDGERLINE_SAFEGUARDING_TIME), as of that time.",
        every=timedelta(minutes=5),
    ),
)
