"""The invariant watch: what is new is proved at once, what was changed behind it is found and named."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import psycopg
import pytest

from ledger.invariants import Violation
from ledger.posting import Poster
from ledger.watch import WatchBusyError, WatchRun, accept_guards, check_new, prove_whole_book, rebase
from tests.conftest import TestDatabase
from tests.ledger.postings import FINAL, HOLD, POST_HOLD, VOID, World


@dataclass
class Book:
    """A merchant's book with a poster, and the watch's connection."""

    database: TestDatabase
    poster: Poster
    connection: psycopg.AsyncConnection
    world: World = field(default_factory=World)

    async def move(self, *amounts: int) -> None:
        """Money from the bank to `a`, one posting an amount."""
        for amount in amounts:
            await self.poster.post(self.world.move("bank", "a", amount))

    async def check(self, **limits: int) -> WatchRun:
        """One run of the watch."""
        return await check_new(self.connection, **limits)

    async def tamper(self, *statements: str) -> None:
        """Change rows as a superuser who switches the guards off and on again; nobody but the rows can tell."""
        async with await psycopg.AsyncConnection.connect(self.database.admin_url) as connection:
            for table in ("entries", "movements"):
                await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
            for statement in statements:
                cursor = await connection.execute(statement.encode(), {"a": self.world.code("a")})
                assert cursor.rowcount > 0, statement
            for table in ("entries", "movements"):
                await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL".encode())
                await connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only".encode())


@pytest.fixture
async def book(fresh_database: TestDatabase) -> AsyncIterator[Book]:
    """Three movements of 10, 20 and 30 from the bank to `a`, verified."""
    poster = Poster(fresh_database.app_url)
    await poster.start()
    async with await psycopg.AsyncConnection.connect(fresh_database.app_url, autocommit=True) as connection:
        book = Book(fresh_database, poster, connection)
        await poster.post(book.world.opens(*(book.world.opening(name) for name in ("bank", "a", "b"))))
        await book.move(10, 20, 30)
        assert (await book.check()).ok
        yield book
    await poster.stop()


def named(violations: tuple[Violation, ...]) -> set[tuple[str, str | None, str | None]]:
    """Kind, account and entry of each."""
    return {(found.kind, found.account, found.entry) for found in violations}


async def test_only_what_is_new_is_checked_and_the_totals_are_the_whole_book(book: Book) -> None:
    """The watermark moves with the ledger; sums are carried on."""
    await book.move(5)
    run = await book.check(patrol_movements=0)
    assert run.ok and run.entries_checked == 2 and run.patrolled == 0 and run.movements_behind == 0
    assert [(one.currency, one.debits_minor, one.credits_minor) for one in run.currencies] == [("EUR", 65, 65)]
    again = await book.check()
    assert again.entries_checked == 0 and again.currencies == run.currencies and again.movement_id == run.movement_id
    assert run.entries_verified == 8


async def test_a_backlog_takes_several_runs(book: Book) -> None:
    """Each run verifies at most so many movements and says how many are left."""
    await book.move(*[1] * 7)
    behind = [(await book.check(new_movements_max=3)).movements_behind for _ in range(3)]
    assert behind == [4, 1, 0] and (await book.check()).entries_verified == 20


async def test_every_phase_of_a_hold_is_sound(book: Book) -> None:
    """Holds posted in parts, in full, finally and voided: pending balances follow from the movements."""
    world = book.world
    for number, phases in enumerate(((POST_HOLD, FINAL), (VOID,), (POST_HOLD,), (FINAL,))):
        key = f"mv_hold_{number}"
        hold = world.movement("a", "b", 8, phase=HOLD, key=key)
        assert (await book.poster.post(world.posting(hold))).refusal is None
        for phase in phases:
            amount = 8 if phase is VOID else 3
            done = await book.poster.post(world.move("a", "b", amount, phase=phase, hold_key=key))
            assert done.refusal is None
            assert (await book.check()).violations == ()
    assert (await prove_whole_book(book.connection)).violations == ()


async def test_random_postings_are_sound_whenever_the_watch_looks(book: Book) -> None:
    """Posters at work, a watch in between: never a false alarm, nothing left out."""
    chance, posting = random.Random(5), True

    async def post() -> None:
        for _ in range(60):
            debit, credit = chance.sample(("bank", "a", "b"), 2)
            await book.poster.post(book.world.move(debit, credit, chance.randrange(1, 9)))

    async def watch() -> None:
        while posting:
            assert (await book.check(patrol_movements=10, patrol_accounts=2)).violations == ()

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(post() for _ in range(4)))
    posting = False
    await watching
    run = await book.check()
    assert run.ok and run.entries_verified == 2 * (3 + 240)
    proof = await prove_whole_book(book.connection)
    assert proof.violations == () and proof.entries_checked == run.entries_verified


NEW_ROWS = {
    "an amount": (
        "UPDATE entries SET amount_minor = amount_minor + 1 WHERE id = 8",
        {"running_balance_mismatch", "entry_without_movement", "currency_unbalanced"},
    ),
    "a running balance": (
        "UPDATE entries SET balance_minor = balance_minor + 1 WHERE id = 8",
        {"running_balance_mismatch", "last_entry_changed"},
    ),
    "a missing entry": ("DELETE FROM entries WHERE id = 8", {"movement_entries_wrong"}),
    "a sequence": ("UPDATE entries SET sequence = 9 WHERE id = 8", {"sequence_gap"}),
    "a date": (
        "UPDATE entries SET effective_at = effective_at - interval '1 day' WHERE id = 8",
        {"entry_without_movement"},
    ),
    "an order in time": (
        "UPDATE entries SET recorded_at = recorded_at - interval '1 day' WHERE id = 8",
        {"time_order_broken"},
    ),
}


@pytest.mark.parametrize("what", NEW_ROWS)
async def test_a_wrong_new_entry_is_found_in_the_next_run(what: str, book: Book) -> None:
    """What is new is held against its movement and against what was verified before it."""
    statement, kinds = NEW_ROWS[what]
    await book.move(7)
    await book.tamper(statement)
    found = (await book.check()).violations
    assert kinds <= {one.kind for one in found}, found
    assert {(one.account, one.entry, one.currency) for one in found if one.kind in kinds - {"currency_unbalanced"}} >= {
        (book.world.code("a"), "le_0000000000000008", "EUR")
    }


OLD_ROWS = {
    "an entry's amount": ("UPDATE entries SET amount_minor = amount_minor + 1 WHERE id = 4", "le_0000000000000004"),
    "an entry's balance": ("UPDATE entries SET balance_minor = balance_minor + 1 WHERE id = 4", "le_0000000000000004"),
    "an entry's date": ("UPDATE entries SET effective_at = now() WHERE id = 4", "le_0000000000000004"),
    "a missing entry": ("DELETE FROM entries WHERE id = 4", "le_0000000000000004"),
    "the missing last entry": ("DELETE FROM entries WHERE id = 6", "le_0000000000000006"),
    "a movement's amount": ("UPDATE movements SET amount_minor = 21 WHERE id = 2", "le_0000000000000004"),
    "a movement's currency": ("UPDATE movements SET currency = 'USD' WHERE id = 2", "le_0000000000000004"),
    "a missing movement": ("DELETE FROM movements WHERE id = 2", "le_0000000000000004"),
    "an account's balance": (
        "UPDATE accounts SET balance_minor = balance_minor + 1 WHERE code = %(a)s",
        "le_0000000000000006",
    ),
    "a missing account": ("DELETE FROM accounts WHERE code = %(a)s", "le_0000000000000006"),
}


@pytest.mark.parametrize("what", OLD_ROWS)
async def test_a_row_altered_by_a_superuser_is_named_with_account_and_entry(what: str, book: Book) -> None:
    """Rows verified long ago: found by the patrol in its round, and by the proof of the whole book."""
    statement, entry = OLD_ROWS[what]
    await book.tamper(statement)
    account = None if what == "a missing account" else book.world.code("a")
    run, proof = await book.check(), await prove_whole_book(book.connection)
    assert (account, entry) in {(one.account, one.entry) for one in run.violations}, run.violations
    assert (account, entry) in {(one.account, one.entry) for one in proof.violations}, proof.violations
    assert {"EUR"} & {one.currency for one in run.violations} or what == "a missing account"


async def test_a_switched_off_guard_is_noticed_without_looking_at_rows(book: Book) -> None:
    """Whoever has had the triggers off, if only for a moment: the whole book is to be proved."""
    proof = await prove_whole_book(book.connection)
    await accept_guards(book.connection, proof.guards)
    assert not (await book.check()).guards_changed
    await book.tamper("UPDATE entries SET amount_minor = amount_minor + 1 WHERE id = 2")
    assert (await book.check(patrol_movements=0, patrol_accounts=0)).guards_changed
    async with await psycopg.AsyncConnection.connect(book.database.owner_url) as connection:
        await connection.execute("ALTER TABLE entries DISABLE TRIGGER entries_append_only")
    found = (await book.check(patrol_movements=0, patrol_accounts=0)).violations
    assert [(one.kind, one.currency) for one in found] == [("guard_off", None)] and "entries" in found[0].detail


async def test_a_movement_removed_without_a_trace_is_missed_by_the_totals(book: Book) -> None:
    """Movement, entries and balances all put right: only what was verified before can tell."""
    await book.tamper(
        "DELETE FROM entries WHERE id IN (5, 6)",
        "DELETE FROM movements WHERE id = 3",
        "UPDATE accounts SET version = version - 1, balance_minor = balance_minor - sign(balance_minor) * 30"
        " WHERE version > 0",
    )
    proof = await prove_whole_book(book.connection)
    assert {one.kind for one in proof.violations} == {"verified_totals_changed", "last_entry_changed"}
    assert ("last_entry_changed", book.world.code("a"), "le_0000000000000006") in named(proof.violations)
    assert ("last_entry_changed", book.world.code("a"), "le_0000000000000006") in named((await book.check()).violations)


async def test_rows_the_ledger_never_wrote_are_found(book: Book) -> None:
    """Ids above the ledger's counter."""
    await book.tamper(
        "INSERT INTO entries SELECT id + 100, movement_id, account_id, sequence + 100, direction, amount_minor,"
        " balance_minor, recorded_at + interval '1 day', effective_at FROM entries WHERE id IN (1, 2)"
    )
    found = (await book.check()).violations
    assert ("entry_ahead_of_clock", book.world.code("a"), "le_0000000000000102") in named(found)


async def test_one_watch_at_a_time(book: Book) -> None:
    """A second run is told so at once and changes nothing."""
    async with await psycopg.AsyncConnection.connect(book.database.app_url) as other:
        await other.execute("LOCK TABLE ledger_watch IN SHARE ROW EXCLUSIVE MODE")
        with pytest.raises(WatchBusyError):
            await book.check()
        await other.rollback()
    assert (await book.check()).ok


async def test_the_patrol_goes_round(book: Book) -> None:
    """Old rows are looked at again slice by slice, then from the start."""
    assert [(await book.check(patrol_movements=2)).patrolled for _ in range(4)] == [4, 2, 4, 2]


async def test_what_a_person_has_taken_note_of_hides_no_later_change(book: Book) -> None:
    """After an incident what is stored counts as verified, and the next change is found against that."""
    removed = "DELETE FROM entries WHERE id IN (5, 6)", "DELETE FROM movements WHERE id = 3"
    settled = "UPDATE accounts SET version = version - 1, balance_minor = balance_minor - sign(balance_minor) * 30"
    await book.tamper(*removed, f"{settled} WHERE version > 0")
    assert not (await prove_whole_book(book.connection)).ok
    await rebase(book.connection)
    assert (await prove_whole_book(book.connection)).ok and (await book.check()).ok
    await book.move(4)
    assert (await book.check()).ok and (await prove_whole_book(book.connection)).ok
    await book.tamper("DELETE FROM entries WHERE id = 4")
    assert not (await prove_whole_book(book.connection)).ok


async def test_a_restored_row_is_sound_again(book: Book) -> None:
    """A row that was wrong when it was new leaves no wrong idea of its account behind."""
    await book.move(7)
    await book.tamper("UPDATE entries SET balance_minor = balance_minor + 1 WHERE id = 8")
    assert not (await book.check()).ok
    await book.tamper("UPDATE entries SET balance_minor = balance_minor - 1 WHERE id = 8")
    assert (await book.check()).ok and (await prove_whole_book(book.connection)).ok
