"""Every timeout and retry policy, with its reason beside it."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain, repeat

from temporalio.common import RetryPolicy

from domain.identifiers import Mode
from domain.rail import RailPace

PAYMENTS_QUEUE = "payments"
BACKGROUND_QUEUE = "background"

RETRY_UNTIL_DONE = RetryPolicy(
    initial_interval=timedelta(milliseconds=50),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=5),
    maximum_attempts=0,
)
"""Commits and questions are idempotent and must happen: retried until the database or rail is back."""

POST_TIMEOUT = timedelta(seconds=45)
"""The poster itself retries for 30 s before it says `retryable`; the activity must outlive that."""

ASSESS_TIMEOUT = timedelta(seconds=45)
"""One read and one posting; the same budget as a posting."""

READ_TIMEOUT = timedelta(seconds=15)
"""One indexed look-up; longer means that the database is away, and it is asked again."""

RAIL_DEADLINE_SECONDS = 2.5
"""How long a card rail may take before its answer counts as lost; inside the API's sync budget."""

FAILOVER_SECONDS_MAX = 6.0
"""How long rails may take together before no other is tried: the answer must fit the API's sync budget of 10 s."""

ATTEMPT_TIMEOUT = timedelta(seconds=RAIL_DEADLINE_SECONDS + 5)
"""The activity answers by itself at the rail's deadline; this only catches a worker that hangs."""

WEBHOOK_ROUND_TIMEOUT = timedelta(minutes=30)
"""A round ends by itself after a minute, or when what it is sending is answered: 200 hanging requests, one after
another, are stored and left between any two. This only bounds a worker that lives and does nothing."""

WEBHOOK_HEARTBEAT_TIMEOUT = timedelta(seconds=8)
"""Four missed heartbeats: then another worker takes the endpoint over, and the lease keeps the first one out."""

SLOW_RAIL_MARGIN = timedelta(seconds=10)
"""What an order to a rail of its own pace may take beyond the deadline, at which the activity answers by itself."""

SLOW_RAIL_HEARTBEAT = timedelta(seconds=10)
"""After this long without a sign of life the worker of such an order counts as dead and another takes over."""

COLLECTION_TIMEOUT = timedelta(minutes=10)
"""How long one round of the rails' inbox may take: a bank's files are many on a Monday."""

MATCH_TIMEOUT = timedelta(minutes=5)
"""A page of 200 lines, each a settlement and a posting: seconds, or longer where Temporal is busy."""

RETRY_NEXT_ROUND = RetryPolicy(maximum_attempts=2)
"""What repeats by schedule needs no retries of its own beyond a worker that died: the next round is near."""

PERIODS_TIMEOUT = timedelta(minutes=15)
"""Making a month takes milliseconds; looking at how large tables have grown may take minutes."""

RETRY_PERIODS = RetryPolicy(
    initial_interval=timedelta(seconds=10), maximum_interval=timedelta(minutes=5), maximum_attempts=50
)
"""A month isn't made while somebody reads for long: tried again for hours, then on the next day."""

CHALLENGE_EXPIRY = timedelta(minutes=15)
"""How long a customer may take for a step-up before the charge is declined."""

TRANSFER_HOLD_SECONDS = 604_800
"""How long the money of a transfer in two phases stays set aside when nobody says otherwise: a week, as cards do."""

TRANSFER_HOLD_SECONDS_MAX = 31_536_000
"""The longest such hold, a year: a hold that never ends would lock money up for ever."""

NOT_ATTEMPTED_PAUSES = (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30))
"""Pauses before a new attempt of a refund, capture or void that no rail ever saw."""

INQUIRY_DELAYS_SECONDS: dict[Mode, tuple[float, ...]] = {
    Mode.LIVE: (2, 10, 30, 120, 600, 3600),
    Mode.TEST: (1, 2, 4, 8),
}
"""Pauses before each inquiry (semantics rule 8); test mode is impatient so that people see the end of it."""

INQUIRY_DAILY_SECONDS = 86_400.0
"""After the last pause the rail is asked once a day, for ever; a person may end it."""


RETRY_WATCH = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=1),
    maximum_attempts=0,
)
"""The watch and its alerts must happen, but a database or receiver that is away is not to be hammered."""

WATCH_TIMEOUT = timedelta(seconds=60)
"""A run takes milliseconds, or as long as a step of a backlog; longer than this the database hangs."""

PROOF_TIMEOUT = timedelta(hours=2)
"""The whole book is read: 15 seconds a million entries, more on a busy machine."""

ALERT_TIMEOUT = timedelta(seconds=60)
"""Three receivers at ten seconds each, told at the same time, and the writing of what they were told."""

PROOF_WORKFLOW_ID = "ledger-proof-due"
"""The proof that the watch asks for; the daily one has its schedule's id."""

ALERTS_WORKFLOW_ID = "ledger-alerts"

SAFEGUARDING_TIMEOUT = timedelta(minutes=30)
"""The last entry of each account is looked up, some ten microseconds each: minutes for a book of millions."""

STOP_PAUSES_SECONDS: dict[Mode, tuple[float, ...]] = {
    Mode.LIVE: (10, 30, 60, 120, 300),
    Mode.TEST: (1, 2, 4, 8, 15),
}
"""Pauses before a payout that a stop holds back looks again; the last one repeats."""

ORPHAN_QUESTIONS_SECONDS: dict[Mode, tuple[float, ...]] = {
    Mode.LIVE: (0, 60, 600, 3600, *(INQUIRY_DAILY_SECONDS,) * 30),
    Mode.TEST: (0, 1, 2, 4, 8, *(INQUIRY_DAILY_SECONDS,) * 30),
}
"""Pauses before each question whether an order that had ended took effect after all: as long as rails correct
themselves, a month. A definite answer ends it."""


SETTLEMENT_LOOKS: dict[Mode, tuple[timedelta, ...]] = {
    Mode.LIVE: (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1)),
    Mode.TEST: (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30)),
}
"""Pauses between two looks whether a charge that is to be paid out is settled; the last one repeats."""


def inquiry_delays(mode: Mode, pace: RailPace | None = None) -> Iterator[tuple[float, bool]]:
    """Yield (seconds to wait, whether the budget is exhausted after this inquiry), without end.

    A rail of its own pace is asked at that pace in both modes.
    """
    delays = INQUIRY_DELAYS_SECONDS[mode] if pace is None else pace.inquiry_delays_seconds
    last = len(delays) - 1
    return chain(((delay, index == last) for index, delay in enumerate(delays)), repeat((INQUIRY_DAILY_SECONDS, False)))


FUNDS_PAUSES = {
    Mode.LIVE: (timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=5)),
    Mode.TEST: (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)),
}
"""Pauses between two tries of a refund that waits for funds, unless it is told of some; then quarter-hourly."""


def funds_pauses(mode: Mode) -> Iterator[timedelta]:
    """Yield the pauses between two tries to set a refund's money aside, without end."""
    return chain(FUNDS_PAUSES[mode], repeat(timedelta(minutes=15)))


NOTICE_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 10, 20, 30, 60, 120, 300, 600))
"""Pauses while a rail's notice waits for its object's own workflow to learn the same by asking; then hourly."""


def notice_pauses() -> Iterator[timedelta]:
    """Yield the pauses between two looks at an object a notice is about, without end."""
    return chain(NOTICE_PAUSES, repeat(timedelta(hours=1)))


def stop_pauses(mode: Mode) -> Iterator[float]:
    """Yield the seconds between two looks at a stop of payouts, without end."""
    pauses = STOP_PAUSES_SECONDS[mode]
    return chain(pauses, repeat(pauses[-1]))
