"""Making Temporal's schedules what the table in `workflows/schedules.py` says. Decides nothing about what repeats."""

import functools
from collections.abc import Iterable
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from workflows.policies import BACKGROUND_QUEUE
from workflows.schedules import ScheduleRow

CATCHUP = timedelta(seconds=60)
"""Runs missed while nothing was up are made up for only within this time: what repeats needs no backlog."""


async def ensure_schedules(client: Client, rows: Iterable[ScheduleRow]) -> None:
    """Create each schedule, or bring it in line with its row. Idempotent; several processes may do it at once.

    A schedule that somebody paused stays paused.

    Raises:
        RPCError: the server cannot be reached. Retryable.
    """
    for row in rows:
        try:
            # What repeats begins at once on a new server, not after its first interval.
            await client.create_schedule(row.id, _schedule(row), trigger_immediately=row.every is not None)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(row.id).update(functools.partial(_in_line, row))


def _in_line(row: ScheduleRow, found: ScheduleUpdateInput) -> ScheduleUpdate | None:
    schedule = found.description.schedule
    wanted = _schedule(row)
    schedule.action, schedule.spec, schedule.policy = wanted.action, wanted.spec, wanted.policy
    return ScheduleUpdate(schedule=schedule)


def _schedule(row: ScheduleRow) -> Schedule:
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=row.every)]) if row.every else ScheduleSpec()
    if row.daily_at_utc is not None:
        hour, minute = row.daily_at_utc
        spec.calendars = [ScheduleCalendarSpec(hour=[ScheduleRange(hour)], minute=[ScheduleRange(minute)])]
    return Schedule(
        action=ScheduleActionStartWorkflow(row.workflow, id=row.id, task_queue=BACKGROUND_QUEUE),
        spec=spec,
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCHUP),
        state=ScheduleState(note=row.note),
    )
