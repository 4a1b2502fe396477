"""`ledgerline ledger`: how the book grows. Its periods with their sizes, and the oldest one's way into the archive.

Uses LEDGERLINE_DATABASE_ADMIN_URL, or the database of the running instance.
"""

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time
from typing import Annotated, TypeVar

import psycopg
import typer

from commands.configured import running_instance, settings_or_exit
from ledger.periods import ArchiveRefusedError, archive_period, list_periods

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Answer = TypeVar("Answer")


@app.callback()
def ledger() -> None:
    """How the book grows."""


@app.command()
def periods() -> None:
    """Print each period of recorded time, oldest first: from, to, entries (estimated), megabytes, state."""
    now = datetime.now(UTC)
    for period in _with_owner(list_periods):
        state = "archived" if period.archived_at else "over" if period.upper and period.upper <= now else "to come"
        if state == "to come" and (period.lower is None or period.lower <= now):
            state = "current"
        print(
            f"{_shown(period.lower, 'beginning'):<26} {_shown(period.upper, 'open'):<26} {period.entries:>13,}"
            f" {period.size_bytes / 1e6:>10,.1f} MB  {state}"
        )


@app.command()
def archive(
    before: Annotated[str, typer.Option(help="A day (UTC), such as 2026-01-01: periods ended by then.")],
) -> None:
    """Take periods out of the book, oldest first, each after a proof of the whole book. Exit code 1 if one is refused.

    Balances since the end of an archived period stay as they were; earlier instants are refused.
    """
    try:
        end = datetime.combine(date.fromisoformat(before), time(), UTC)
    except ValueError as error:
        print(f"{before!r} is not a day such as 2026-01-01.", file=sys.stderr)
        raise typer.Exit(2) from error
    due = [
        period.upper
        for period in _with_owner(list_periods)
        if period.archived_at is None and period.upper is not None and period.upper <= end
    ]
    for upper in due:
        try:
            _with_owner(functools.partial(archive_period, upper=upper))
        except ArchiveRefusedError as refusal:
            print(f"The period to {_shown(upper, '')} stays: {refusal}.", file=sys.stderr)
            raise typer.Exit(1) from refusal
        print(f"archived to {_shown(upper, '')}")
    print(f"{len(due)} periods archived; their tables are in schema ledger_archive, to be exported and dropped")


def _with_owner(work: Callable[[psycopg.AsyncConnection], Awaitable[Answer]]) -> Answer:
    settings = settings_or_exit()
    url = settings.database_admin_url or running_instance(settings)["database_url"]

    async def run() -> Answer:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            return await work(connection)

    try:
        return asyncio.run(run())
    except psycopg.errors.LockNotAvailable as error:
        print("Somebody reads the books for long, so nothing was done. Try again.", file=sys.stderr)
        raise typer.Exit(1) from error
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        print(f"Not done: {' '.join(str(error).split())}.", file=sys.stderr)
        raise typer.Exit(1) from error


def _shown(at: datetime | None, otherwise: str) -> str:
    return otherwise if at is None else at.astimezone(UTC).isoformat()
