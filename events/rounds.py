"""One round of delivery to one endpoint: send what there is, store what came of it, stop when nothing moves.

Decides order, concurrency, when to try again and when an endpoint is to be disabled. A round lasts a
minute at most, so that its worker is free for others and can be replaced.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from domain.webhooks import (
    QUICK_RETRY_SECONDS_MAX,
    RETRY_DELAYS_SECONDS,
    DeliveryReport,
    DeliveryStatus,
    Ordering,
    retry_pause_seconds,
)
from events.deliveries import Cursor, DeliveryBook, Due, Endpoint, Outcome, Outgoing, Page
from events.sending import Attempt, Sender
from events.signing import signed_headers

ROUND_SECONDS_MAX = 60.0
LINGER_SECONDS = 1.0
"""How long a round waits for more once nothing is left: a flow of events then costs one round a minute."""

POLL_SECONDS = 0.1
PAGE_EVENTS = 200
STORED_EVENTS_MAX = 50
STORED_SECONDS_MAX = 0.5
"""Progress is stored this often: what a crash in between sends again."""

BACKPRESSURE_SECONDS_MAX = 300.0
"""How long a parallel endpoint that took nothing is spared new events; what failed has its own schedule."""

SLOW_ANSWER_MS = 2_000
"""An endpoint that took this long to fail is not tried again at once: it would hold the worker."""

GONE, FAILING = "gone", "failing"
"""Why an endpoint is disabled: it answered 410, or the whole schedule of retries was spent on one event."""


@dataclass(slots=True)
class DeliveryRound:
    """One round. `stopping` tells whether to end early; progress is stored before it does."""

    book: DeliveryBook
    sender: Sender
    endpoint: Endpoint
    stopping: Callable[[], bool]
    chance: Callable[[], float] = random.random
    sent: int = 0
    succeeded: int = 0
    disable: str | None = None
    _since_stored: float = field(default_factory=time.monotonic)

    async def run(self) -> DeliveryReport:
        """Deliver, and return what it came to; `disable` is then set if the endpoint must be.

        Raises:
            LeaseLostError: another worker delivers to this endpoint. Not retryable.
            psycopg.OperationalError: the database is away. Retryable.
        """
        ends = time.monotonic() + ROUND_SECONDS_MAX
        idle_since: float | None = None
        changed = False
        while not self._over(ends):
            moved = await self._once()
            changed = moved is None
            if changed:
                break
            if moved:
                idle_since = None
                continue
            idle_since = idle_since or time.monotonic()
            if time.monotonic() - idle_since >= LINGER_SECONDS:
                break
            await asyncio.sleep(POLL_SECONDS)
        sequence, wait_seconds = await self.book.leave(self.endpoint)
        if changed or (idle_since is None and self.disable is None):
            wait_seconds = 0.0
        return DeliveryReport(sent=self.sent, succeeded=self.succeeded, sequence=sequence, wait_seconds=wait_seconds)

    def _over(self, ends: float) -> bool:
        return self.stopping() or self.disable is not None or time.monotonic() > ends

    async def _once(self) -> bool | None:
        """Send what is there now; tell whether anything was sent. None: the endpoint has changed."""
        cursors = await self.book.cursors(self.endpoint)
        if cursors is None:
            return None
        moved = False
        for cursor in cursors:
            page = await self.book.page(self.endpoint, cursor, PAGE_EVENTS)
            if page.events:
                moved = True
                walk = self._in_order if self.endpoint.ordering is Ordering.STRICT else self._at_once
                await walk(cursor, page)
            elif page.end > cursor.sequence:
                await self.book.record(self.endpoint, (), cursor.moved(page.end))
        due = await self.book.due(self.endpoint, PAGE_EVENTS)
        if due:
            await self._again(due)
        return moved or bool(due)

    async def _in_order(self, cursor: Cursor, page: Page) -> None:
        """Send one after another; the first that keeps failing stops the cursor before it."""
        done: list[Outcome] = []
        self._since_stored = time.monotonic()
        for event in page.events:
            outcome = await self._persist(event, cursor.failures)
            done.append(outcome)
            if outcome.status is not DeliveryStatus.SUCCEEDED:
                stuck = replace(cursor, failures=outcome.failures, next_attempt_at=outcome.next_attempt_at)
                await self.book.record(self.endpoint, done, stuck)
                return
            cursor = cursor.moved(event.sequence)
            if self._is_time_to_store(len(done)):
                await self._store(done, cursor)
                done = []
            if self.stopping():
                break
        else:
            cursor = cursor.moved(page.end)
        await self._store(done, cursor)

    async def _at_once(self, cursor: Cursor, page: Page) -> None:
        """Send several at a time; what fails becomes a delivery of its own, and the cursor goes on.

        When a whole batch fails the cursor waits: what has not been tried yet stays where it is.
        """
        size = self.endpoint.in_flight_max * 4
        for start in range(0, len(page.events), size):
            batch = page.events[start : start + size]
            outcomes = await self._together([(event, 0) for event in batch])
            end = page.end if start + size >= len(page.events) else batch[-1].sequence
            if any(outcome.status is DeliveryStatus.SUCCEEDED for outcome in outcomes):
                cursor = cursor.moved(end)
            else:
                failures = min(cursor.failures + 1, len(RETRY_DELAYS_SECONDS[self.endpoint.mode]))
                pause = retry_pause_seconds(self.endpoint.mode, failures, chance=self.chance())
                assert pause is not None
                pause = min(pause, BACKPRESSURE_SECONDS_MAX)
                cursor = replace(cursor, sequence=end, failures=failures, next_attempt_at=_from_now(pause))
            await self._store(outcomes, cursor)
            if cursor.failures or self.stopping() or self.disable is not None:
                return

    async def _again(self, due: Sequence[Due]) -> None:
        """Try deliveries again that failed by themselves, or that somebody asked for."""
        outcomes = await self._together([(one.event, one.failures) for one in due])
        spent = {one.event.sequence for one in due if not one.succeeded_since}
        if any(one.status is DeliveryStatus.DEAD and one.event.sequence in spent for one in outcomes):
            self.disable = self.disable or FAILING
        await self._store(outcomes, None)

    async def _together(self, events: Sequence[tuple[Outgoing, int]]) -> list[Outcome]:
        """Send each event once, at most `in_flight_max` at a time; one at a time where order is strict."""
        strict = self.endpoint.ordering is Ordering.STRICT
        gate = asyncio.Semaphore(1 if strict else self.endpoint.in_flight_max)

        async def send(event: Outgoing, failures: int) -> Outcome:
            async with gate:
                return self._judge(event, [await self._send(event)], failures, queued=True)

        return list(await asyncio.gather(*(send(event, failures) for event, failures in events)))

    async def _persist(self, event: Outgoing, failures: int) -> Outcome:
        """Send an event, again after short pauses if it fails, until it succeeds or a longer pause is due."""
        attempts: list[Attempt] = []
        while True:
            attempts.append(await self._send(event))
            outcome = self._judge(event, attempts, failures, queued=False)
            if outcome.status is not DeliveryStatus.PENDING or self.disable is not None or self.stopping():
                return outcome
            assert outcome.next_attempt_at is not None
            pause = (outcome.next_attempt_at - datetime.now(UTC)).total_seconds()
            if pause > QUICK_RETRY_SECONDS_MAX or attempts[-1].duration_ms > SLOW_ANSWER_MS:
                return outcome
            await asyncio.sleep(max(0.0, pause))
            failures = outcome.failures

    async def _send(self, event: Outgoing) -> Attempt:
        headers = signed_headers(self.endpoint.secrets, event.id, event.body)
        attempt = await self.sender.send(self.endpoint.url, headers, event.body)
        self.sent += 1
        self.succeeded += attempt.succeeded
        return attempt

    def _judge(self, event: Outgoing, attempts: list[Attempt], failures: int, *, queued: bool) -> Outcome:
        last = attempts[-1]
        if last.succeeded:
            return Outcome(event=event, attempts=attempts, status=DeliveryStatus.SUCCEEDED)
        if last.gone:
            self.disable = GONE
        failures += 1
        pause = retry_pause_seconds(self.endpoint.mode, failures, chance=self.chance(), retry_after=last.retry_after)
        if pause is None:
            if not queued:
                self.disable = self.disable or FAILING
            # A fresh schedule for whoever enables the endpoint again or asks for the delivery.
            return Outcome(event=event, attempts=attempts, status=DeliveryStatus.DEAD)
        return Outcome(
            event=event,
            attempts=list(attempts),
            status=DeliveryStatus.PENDING,
            failures=failures,
            queued=queued,
            next_attempt_at=_from_now(pause),
        )

    def _is_time_to_store(self, waiting: int) -> bool:
        return waiting >= STORED_EVENTS_MAX or time.monotonic() - self._since_stored > STORED_SECONDS_MAX

    async def _store(self, outcomes: Sequence[Outcome], cursor: Cursor | None) -> None:
        await self.book.record(self.endpoint, outcomes, cursor)
        self._since_stored = time.monotonic()


def _from_now(seconds: float | None) -> datetime:
    assert seconds is not None
    return datetime.now(UTC) + timedelta(seconds=seconds)
