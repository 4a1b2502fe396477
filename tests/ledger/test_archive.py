"""Archiving the oldest periods: what may leave, what stays true, and what is refused."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ledger.balances import ArchivedError, Axis, account_entries, balance_at, trial_balance
from ledger.invariants import check_books
from ledger.periods import ArchiveRefusedError, archive_period, list_periods
from ledger.posting import Poster
from ledger.statements import statement
from ledger.watch import check_new, prove_whole_book
from tests.conftest import ROOT, TestDatabase
from tests.ledger.postings import HOLD, VOID, World, posted


class Book:
    """A database with three short periods behind it, an account idle since the first, and an open hold."""

    def __init__(self, database: TestDatabase) -> None:
        self.world = World()
        self.poster = Poster(database.app_url)
        self.uppers: list[datetime] = []
        self.hold = self.world.movement("a", "bank", 4, phase=HOLD)

    async def fill(self, admin: psycopg.AsyncConnection) -> None:
        """Post in three periods, each ended a moment later."""
        world = self.world
        await self.poster.start()
        await self.poster.post(world.opens(*(world.opening(name) for name in ("bank", "a", "idle"))))
        await self.poster.post(world.move("bank", "idle", 70))
        await self.poster.post(world.posting(self.hold))
        for number in range(3):
            for amount in (10, 20, 30):
                await self.poster.post(world.move("bank", "a", amount + number))
            upper = datetime.now(UTC) + timedelta(milliseconds=50)
            await admin.execute("SELECT end_ledger_period(%s)", (upper,))
            self.uppers.append(upper)
            await asyncio.sleep(0.06)
        await self.poster.post(world.move("bank", "a", 1))

    async def answers(self, reader: psycopg.AsyncConnection, instants: list[datetime]) -> list[object]:
        """What the book says of instants, for every account and on both axes."""
        said: list[object] = []
        for at in instants:
            for name in ("bank", "a", "idle"):
                said += [await balance_at(reader, self.world.code(name), at, axis) for axis in Axis]
            said.append(await trial_balance(reader, at))
        page = await statement(reader, self.world.code("a"), instants[0], instants[-1])
        assert page is not None
        return [*said, page.opening, page.closing, page.entries]


async def test_an_archived_period_leaves_balances_and_proofs_as_they_were(fresh_database: TestDatabase) -> None:
    """Two of three periods leave: later instants answer as before, earlier ones are refused, the book still proves."""
    book = Book(fresh_database)
    async with await psycopg.AsyncConnection.connect(fresh_database.admin_url, autocommit=True) as admin:
        await book.fill(admin)
        world, poster = book.world, book.poster
        assert (await check_new(admin)).ok
        instants = [book.uppers[1], book.uppers[1] + timedelta(milliseconds=30), datetime.now(UTC)]
        before = await book.answers(admin, instants)
        await archive_period(admin, book.uppers[0])
        await archive_period(admin, book.uppers[1])
        assert await book.answers(admin, instants) == before
        for at in (book.uppers[1] - timedelta(microseconds=1), datetime(2020, 1, 1, tzinfo=UTC)):
            for axis in Axis:
                with pytest.raises(ArchivedError):
                    await balance_at(admin, world.code("a"), at, axis)
            with pytest.raises(ArchivedError):
                await trial_balance(admin, at)
        first = await account_entries(admin, world.code("a"), limit=100)
        assert [entry.sequence for entry in first] == [10, 9, 8, 7]
        assert (await check_books(admin)).ok and not (await prove_whole_book(admin)).violations
        # The watch goes on: new entries and its patrol of old ones, from the start again.
        await poster.post(world.posting(world.movement("a", "bank", 4, phase=VOID, hold_key=book.hold.key)))
        await poster.post(world.move("a", "idle", 5))
        for _ in range(3):
            run = await check_new(admin, patrol_movements=3)
            assert run.ok, run.violations
        assert await posted(admin, world.code("idle")) == (75, 0, 0)
        # Keys of what is archived are known for ever.
        reused = await poster.post(world.move("bank", "a", 9, key=book.hold.key))
        assert reused.refusal is not None and reused.refusal.code == "exists_with_different_facts"
        listed = await list_periods(admin)
        assert [period.archived_at is not None for period in listed[:3]] == [True, True, False]
        assert listed[0].size_bytes == 0 < listed[2].size_bytes
        await poster.stop()


async def test_a_tampered_balance_is_still_found_after_archiving(fresh_database: TestDatabase) -> None:
    """An account idle since an archived period is held against what was carried over."""
    book = Book(fresh_database)
    async with await psycopg.AsyncConnection.connect(fresh_database.admin_url, autocommit=True) as admin:
        await book.fill(admin)
        await book.poster.stop()
        assert (await check_new(admin)).ok
        await archive_period(admin, book.uppers[0])
        await admin.execute(
            "UPDATE accounts SET balance_minor = balance_minor + 1 WHERE code = %s", (book.world.code("idle"),)
        )
        assert {violation.kind for violation in (await check_books(admin)).violations} == {"balance_mismatch"}
        assert {violation.kind for violation in (await check_new(admin)).violations} == {"balance_mismatch"}


async def test_what_may_not_be_archived_is_refused(fresh_database: TestDatabase) -> None:
    """Not verified, not the oldest, not over, counting from later, or a book that doesn't prove: nothing is done."""
    book = Book(fresh_database)
    async with await psycopg.AsyncConnection.connect(fresh_database.admin_url, autocommit=True) as admin:
        await book.fill(admin)

        async def refused(upper: datetime) -> str:
            with pytest.raises(ArchiveRefusedError) as refusal:
                await archive_period(admin, upper)
            return str(refusal.value)

        assert "watch" in await refused(book.uppers[0])
        assert (await check_new(admin)).ok
        assert "older" in await refused(book.uppers[1])
        assert "no period" in await refused(book.uppers[0] - timedelta(seconds=1))
        await admin.execute("ALTER TABLE accounts DISABLE TRIGGER ALL")
        await admin.execute("UPDATE accounts SET version = version + 1 WHERE code = %s", (book.world.code("a"),))
        assert "don't prove" in await refused(book.uppers[0])
        await admin.execute("UPDATE accounts SET version = version - 1 WHERE code = %s", (book.world.code("a"),))
        upper = datetime.now(UTC) + timedelta(milliseconds=200)
        await book.poster.post(book.world.move("bank", "a", 1, effective_at=upper + timedelta(days=1)))
        await admin.execute("SELECT end_ledger_period(%s)", (upper,))
        for one in book.uppers:
            await archive_period(admin, one)
        assert "not over" in await refused(upper)
        await asyncio.sleep(0.25)
        await book.poster.post(book.world.move("bank", "a", 1))
        assert (await check_new(admin)).ok
        assert "counts from a later" in await refused(upper)
        assert (await check_books(admin)).ok
        await book.poster.stop()
        for url in (fresh_database.app_url, fresh_database.api_url):
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
                for attempt in ("SELECT archive_ledger_period(now())", "SELECT * FROM ledger_archive.x"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        await other.execute(attempt.encode())


def test_the_command_shows_periods_and_archives_what_is_over(fresh_database: TestDatabase) -> None:
    """Today's period stays whatever day is named; a day that is none is told so."""

    def ledgerline(*arguments: str) -> tuple[int, str, str]:
        environment = {**os.environ, "LEDGERLINE_DATABASE_ADMIN_URL": fresh_database.admin_url}
        command = [sys.executable, "-m", "cli", "ledger", *arguments]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    code, shown, _ = ledgerline("periods")
    assert code == 0 and shown.count("current") == 1 and shown.startswith("beginning") and "open" in shown
    code, _, said = ledgerline("archive", "--before", "2999-01-01")
    assert code == 1 and "not over" in said
    assert ledgerline("archive", "--before", "2000-01-01")[:2] == (
        0,
        "0 periods archived; their tables are in schema ledger_archive, to be exported and dropped\n",
    )
    assert ledgerline("archive", "--before", "soon")[0] == 2
