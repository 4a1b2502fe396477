"""The poster: commits postings, many at a time, each wholly or not at all, each exactly once.

Group commit: while one batch is in flight the next gathers; nothing waits on purpose. A batch is one
statement, one round trip and one SERIALIZABLE transaction: `post_in_turn` takes the turn, posts and
commits. Whatever happens to the connection, the batch is posted again and the posting keys tell what
had been committed: look, don't guess.

Client and server work at the same time: while the server posts a batch, a full next one is encoded, and
it is sent before the answers of the last are handed out.
"""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from domain.ledger import Posting, PostingResult
from ledger.account_changes import post_account_change
from ledger.answer import POSTED, Answer, results_of
from ledger.arrays import register
from ledger.batch import Batch, Prepared, Sign, make_batch, prepare

RETRY_BUDGET_SECONDS = 30.0
"""How long a batch is tried again before its callers get a ConnectionError."""

BATCH_SECONDS_MAX = 20.0
"""A batch that takes longer counts as a lost connection: the server is asked anew."""

KNOWN_CODES_MAX = 100_000
"""Accounts remembered as open; forgetting them costs a look-up each."""

_RETRYABLE = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
)
_UNSTORABLE = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
_LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # Still connected to what was the primary before a failover.
    psycopg.errors.ReadOnlySqlTransaction,
    TimeoutError,
    OSError,
)
# A utility statement as the first one: the snapshot is taken after the turn has come, so posters of
# several processes never see stale balances and never fail to serialize against one another.
_TAKE_TURN = "LOCK TABLE ledger_turn IN SHARE ROW EXCLUSIVE MODE"
_ARGUMENTS = ", ".join(["%s"] * 23)
_POST = f"SELECT * FROM post_batch({_ARGUMENTS})"
_POST_IN_TURN = f"CALL post_in_turn({_ARGUMENTS}, {', '.join(['NULL'] * 7)})"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    prepared: Prepared
    results: list["asyncio.Future[PostingResult]"]


class Poster:
    """Implements `domain.book.BookWriter`. One event loop; any number of posters, on any machines."""

    def __init__(self, app_url: str, *, sign: Sign | None = None, batch_max: int = 512) -> None:
        """Make one that is not connected yet. `sign` signs the content hashes of audit records."""
        assert batch_max > 0
        self._app_url = app_url
        self._sign = sign
        self._batch_max = batch_max
        self._queue: deque[_Waiting] = deque()
        self._by_key: dict[str, _Waiting] = {}
        self._known_codes: set[str] = set()
        self._awake = asyncio.Event()
        self._ahead: tuple[list[_Waiting], Batch | None] | None = None
        self._stopping = False
        self._connection: AsyncConnection | None = None
        self._drain_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and begin to post.

        Raises:
            ConnectionError: the database could not be reached. Retryable.
        """
        assert self._drain_task is None, "started twice"
        try:
            self._connection = await self._connect()
        except psycopg.OperationalError as error:
            raise ConnectionError("the ledger's database cannot be reached") from error
        self._drain_task = asyncio.create_task(self._drain(), name="ledger-poster")

    async def stop(self) -> None:
        """Post what was handed in, then disconnect. Harmless when called twice."""
        self._stopping = True
        self._awake.set()
        if self._drain_task is not None:
            await self._drain_task
        await self._disconnect()

    async def post(self, posting: Posting) -> PostingResult:
        """Commit a posting. Idempotent on `posting.key`: a repetition gets the first result as `duplicate`.

        Under a known key, other movements, versions or statuses are refused as
        `exists_with_different_facts`, with `documents` as they are stored.

        Facts are turned into movements here. A caller that is cancelled doesn't disturb its batch;
        its posting may still be committed.

        Raises:
            ConnectionError: the database was out of reach for the whole retry budget, or the poster
                was stopped; it may or may not have been committed. Retryable.
            ValueError: the posting holds something that can't be stored. Not retryable.
        """
        if self._stopping or self._drain_task is None:
            raise ConnectionError("the poster is not running")
        result: asyncio.Future[PostingResult] = asyncio.get_running_loop().create_future()
        waiting = self._by_key.get(posting.key)
        if waiting is not None and waiting.prepared.posting == posting:
            waiting.results.append(result)
        else:
            waiting = _Waiting(prepare(posting, self._sign), [result])
            self._by_key[posting.key] = waiting
            self._queue.append(waiting)
            self._awake.set()
            if self._ahead is None and len(self._queue) >= self._batch_max:
                self._ahead = self._encoded(self._take())
        return await result

    async def _drain(self) -> None:
        while True:
            await self._awake.wait()
            self._awake.clear()
            while self._ahead or self._queue:
                taken, batch = self._ahead or (self._take(), None)
                self._ahead = None
                await self._serve(taken, batch)
            if self._stopping:
                return

    def _encoded(self, taken: list[_Waiting]) -> tuple[list[_Waiting], Batch | None]:
        """Return postings with their batch, made while another is in flight; None if that fails: see when it is due."""
        with contextlib.suppress(Exception):
            return taken, make_batch([waiting.prepared for waiting in taken], self._known_codes)
        return taken, None

    def _take(self) -> list[_Waiting]:
        """Return the next postings in order, each key once (a second one with other content waits).

        A change of an account's terms is rare and goes alone.
        """
        taken: list[_Waiting] = []
        keys: set[str] = set()
        while self._queue and len(taken) < self._batch_max:
            waiting = self._queue[0]
            key, alone = waiting.prepared.posting.key, waiting.prepared.posting.account_change is not None
            if key in keys or (alone and taken):
                break
            self._queue.popleft()
            if self._by_key.get(key) is waiting:
                del self._by_key[key]
            if all(result.cancelled() for result in waiting.results):
                continue
            keys.add(key)
            taken.append(waiting)
            if alone:
                break
        return taken

    async def _serve(self, taken: list[_Waiting], batch: Batch | None = None) -> None:
        """Post a batch and have everyone answered. What the database rejects is found by halving."""
        if not taken:
            return
        try:
            results = await self._post_until_known([waiting.prepared for waiting in taken], batch)
        except _UNSTORABLE as error:
            if len(taken) == 1:
                log.exception("posting rejected by the database", extra={"key": taken[0].prepared.posting.key})
                _fail(taken, ValueError(f"the ledger cannot store this posting: {error}"))
            else:
                middle = len(taken) // 2
                await self._serve(taken[:middle])
                await self._serve(taken[middle:])
        except Exception as error:
            _fail(taken, error)
        else:
            # Not now: what comes next is on its way to the server first.
            asyncio.get_running_loop().call_soon(_answer, taken, results)

    async def _post_until_known(
        self, prepared: Sequence[Prepared], batch: Batch | None
    ) -> Callable[[], list[PostingResult]]:
        deadline = time.monotonic() + RETRY_BUDGET_SECONDS
        delay_seconds = 0.005
        while True:
            try:
                return await self._commit(batch or make_batch(prepared, self._known_codes))
            except _UNSTORABLE:
                raise
            except _RETRYABLE as error:
                cause: Exception = error
            except _LOST as error:
                cause = error
                await self._disconnect()
            if time.monotonic() > deadline:
                raise ConnectionError("the ledger's database could not be reached in time") from cause
            log.warning("posting a batch again", extra={"cause": repr(cause), "postings": len(prepared)})
            await asyncio.sleep(random.uniform(0, delay_seconds))
            delay_seconds = min(delay_seconds * 2, 1.0)

    async def _commit(self, batch: Batch) -> Callable[[], list[PostingResult]]:
        """Commit a batch, and return what makes its results."""
        if self._connection is None:
            self._connection = await self._connect()
        async with asyncio.timeout(BATCH_SECONDS_MAX):
            if batch.prepared[0].posting.account_change is not None:
                changed = await post_account_change(self._connection, batch, take_turn=_TAKE_TURN, post=_POST)
                return lambda: [changed]
            cursor = await self._connection.execute(_POST_IN_TURN, batch.parameters, prepare=True, binary=True)
            row = await cursor.fetchone()
        assert row is not None
        return functools.partial(self._results, batch, Answer(*row))

    def _results(self, batch: Batch, answer: Answer) -> list[PostingResult]:
        for item, status in zip(batch.prepared, answer.statuses, strict=True):
            if status == POSTED:
                self._known_codes.update(opening.code for opening, _ in item.openings)
                self._known_codes.update(movement.debit_account for movement in item.ruled)
                self._known_codes.update(movement.credit_account for movement in item.ruled)
        if len(self._known_codes) > KNOWN_CODES_MAX:
            self._known_codes.clear()
        return results_of(batch, answer)

    async def _connect(self) -> AsyncConnection:
        connection = await AsyncConnection.connect(
            self._app_url,
            autocommit=True,
            connect_timeout=5,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            options="-c TimeZone=UTC",
            application_name="ledgerline-poster",
            row_factory=tuple_row,
        )
        register(connection)
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close()


def _answer(taken: Sequence[_Waiting], make_results: Callable[[], list[PostingResult]]) -> None:
    try:
        results = make_results()
    except Exception as error:
        _fail(taken, error)
        return
    for waiting, result in zip(taken, results, strict=True):
        for position, future in enumerate(waiting.results):
            if not future.done():
                repeats = position > 0 and result.refusal is None
                future.set_result(dataclasses.replace(result, duplicate=True) if repeats else result)


def _fail(taken: Sequence[_Waiting], error: Exception) -> None:
    for waiting in taken:
        for future in waiting.results:
            if not future.done():
                future.set_exception(error)
