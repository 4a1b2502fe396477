"""A long history: what a balance at a past instant costs, whether its answer ever changes, what a proof costs."""

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from bench.arithmetic import distribution, rounded
from bench.closed_loop import Say
from bench.ledger_bulk import write_history
from bench.ledger_contenders import OurLedger
from bench.ledger_server import LedgerServer
from ledger.balances import Balance, balance_at
from ledger.invariants import check_books
from ledger.watch import check_new

ACCOUNTS = 1_000
QUESTIONS = 2_000
ASKED_AGAIN = 300
LOAD_IN_FLIGHT = 512
POSTED_MOVEMENTS_MAX = 500_000
"""A longer history is written straight into the tables but for this much."""

NEW_MOVEMENTS = 50_000
"""What the incremental check is measured on: 100,000 entries."""

HOT_SHARE = 0.2
PERIODS = 12
"""Partitions the history is spread over."""

Question = tuple[str, datetime]


async def measure_history(server: LedgerServer, *, entries: int, say: Say) -> dict[str, Any]:
    """Return the cost of balances at past instants and of the whole proof over so many entries."""
    ledger = OurLedger(server.our_url)
    await ledger.open(ACCOUNTS)
    connection = await psycopg.AsyncConnection.connect(server.our_admin_url, autocommit=True)
    async with connection:
        posted = min(entries // 2, POSTED_MOVEMENTS_MAX)
        loading = 0.0
        for _ in range(PERIODS):
            started = time.perf_counter()
            await _load(ledger, posted // PERIODS)
            loading += time.perf_counter() - started
            codes = [ledger.account(number) for number in range(ACCOUNTS)]
            await write_history(connection, ledger.merchant_id, codes, (entries // 2 - posted) // PERIODS, say)
            # A year's worth of months, passed quickly: what is recorded next is in another partition.
            await connection.execute(
                "SELECT end_ledger_period(greatest(clock_timestamp(), ledger_watermark()) + '5 ms')"
            )
            await asyncio.sleep(0.01)
        await connection.execute("ANALYZE")
        row = await (
            await connection.execute("SELECT count(*), min(recorded_at), max(recorded_at) FROM entries")
        ).fetchone()
        assert row is not None
        stored, first, last = row
        say(f"{stored} entries stored; asking")
        questions = _questions(ledger, first, last)
        latencies, before = await _ask(connection, questions)
        during, after = await _while_writing(connection, ledger, questions[:ASKED_AGAIN])
        changed = sum(
            len({_said(answer) for answer in answers}) > 1
            for answers in zip(before[:ASKED_AGAIN], during, after, strict=True)
        )
        say("verifying what is new")
        incremental = await _verify_new(connection, ledger)
        proving = time.perf_counter()
        report = await check_books(connection)
        proving = time.perf_counter() - proving
        partitions = await _partitions(connection)
    await ledger.close()
    return {
        "entries": stored,
        "loaded_movements_per_second": rounded(posted / loading),
        "balance_at_ms": distribution(latencies),
        "asked_before_during_and_after_writes": ASKED_AGAIN,
        "answers_changed": changed,
        "partitions_with_entries": partitions,
        "incremental_check": incremental,
        "whole_proof_seconds": rounded(proving),
        "books_ok": report.ok,
    }


async def _verify_new(connection: psycopg.AsyncConnection[Any], ledger: OurLedger) -> dict[str, Any]:
    """Return what the watch's incremental check takes for 100,000 new entries over a book verified before them."""
    while (await check_new(connection)).movements_behind:
        pass
    runs = []
    for _ in range(3):
        await _load(ledger, NEW_MOVEMENTS)
        started = time.perf_counter()
        run = await check_new(connection)
        runs.append(time.perf_counter() - started)
        assert run.ok and run.movements_behind == 0, run
    return {"new_entries": run.entries_checked, "patrolled": run.patrolled, "seconds": [rounded(one) for one in runs]}


async def _partitions(connection: psycopg.AsyncConnection[Any]) -> int:
    row = await (await connection.execute("SELECT count(DISTINCT tableoid) FROM entries")).fetchone()
    assert row is not None
    return int(row[0])


async def _load(ledger: OurLedger, movements: int) -> None:
    """Post so many movements, a fifth of them to the hot account."""
    chance, numbers = random.Random(7), iter(range(movements))

    async def client() -> None:
        for _ in numbers:
            one, other = chance.sample(range(1, ACCOUNTS), 2)
            await ledger.pay(((one, 0 if chance.random() < HOT_SHARE else other, chance.randrange(1, 500)),))

    await asyncio.gather(*(client() for _ in range(LOAD_IN_FLIGHT)))


def _questions(ledger: OurLedger, first: datetime, last: datetime) -> list[Question]:
    chance = random.Random(11)
    span = (last - first) / timedelta(microseconds=1)
    return [
        (
            ledger.account(0 if chance.random() < HOT_SHARE else chance.randrange(1, ACCOUNTS)),
            first + timedelta(microseconds=chance.randrange(int(span))),
        )
        for _ in range(QUESTIONS)
    ]


async def _ask(
    connection: psycopg.AsyncConnection[Any], questions: Sequence[Question]
) -> tuple[list[float], list[Balance | None]]:
    latencies, answers = [], []
    for code, at in questions:
        started = time.perf_counter()
        answers.append(await balance_at(connection, code, at))
        latencies.append(1_000 * (time.perf_counter() - started))
    return latencies, answers


async def _while_writing(
    connection: psycopg.AsyncConnection[Any], ledger: OurLedger, questions: Sequence[Question]
) -> tuple[list[Balance | None], list[Balance | None]]:
    """Return the answers while postings are under way, and after them."""
    writing = asyncio.create_task(_load(ledger, 20_000))
    await asyncio.sleep(0)
    _, during = await _ask(connection, questions)
    await writing
    _, after = await _ask(connection, questions)
    return during, after


def _said(answer: Balance | None) -> tuple[int, int, int] | None:
    return None if answer is None else (answer.posted_minor, answer.pending_debits_minor, answer.version)
