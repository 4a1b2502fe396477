"""A PostgreSQL server of the ledger suite's own, with a database for each contender. Durable: fsync is on."""

import contextlib
import secrets
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench.closed_loop import Say
from embedded.postgres import EmbeddedPostgres
from embedded.processes import free_port
from ledger.migrate import migrate

PGLEDGER_COMMIT = "c18c7d2"
PGLEDGER_FILES = ("vendor/scoville-pgsql-ulid/uuid-to-ulid.sql", "pgledger.sql")
PGLEDGER_SOURCE = "https://raw.githubusercontent.com/pgr0ss/pgledger/{commit}/{path}"
DOWNLOAD_SECONDS_MAX = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerServer:
    """URLs of the contenders' databases; `pgledger_url` is None when its files could not be had."""

    pid: int
    our_url: str
    our_admin_url: str
    naive_url: str
    pgledger_url: str | None


@contextlib.contextmanager
def ledger_server(pgledger: Path | None, say: Say) -> Iterator[LedgerServer]:
    """Run the server; everything is gone afterwards.

    Args:
        pgledger: a checkout of pgledger; None downloads its two SQL files.
        say: told what goes on.
    """
    home = Path(tempfile.mkdtemp(prefix="ledgerline-bench-"))
    home.chmod(0o711)
    server = EmbeddedPostgres(home, free_port(), secrets.token_hex(16))
    try:
        server.start()
        assert server.process is not None
        with contextlib.ExitStack() as stack:
            stack.callback(server.stop)
            yield _with_databases(server, _pgledger_sql(pgledger, say))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _with_databases(server: EmbeddedPostgres, pgledger_sql: list[str] | None) -> LedgerServer:
    password = secrets.token_hex(16)
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        for name in ("ours", "naive", "pgledger"):
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    urls = {name: server.url("postgres", server.password, name) for name in ("ours", "naive", "pgledger")}
    migrate(urls["ours"], app_password=password, api_password=password)
    if pgledger_sql is not None:
        with psycopg.connect(urls["pgledger"], autocommit=True) as connection:
            for statements in pgledger_sql:
                connection.execute(statements.encode())
    assert server.process is not None
    return LedgerServer(
        pid=server.process.pid,
        our_url=server.url("ledgerline_app", password, "ours"),
        our_admin_url=urls["ours"],
        naive_url=urls["naive"],
        pgledger_url=urls["pgledger"] if pgledger_sql is not None else None,
    )


def _pgledger_sql(folder: Path | None, say: Say) -> list[str] | None:
    try:
        if folder is not None:
            return [(folder / path).read_text("utf-8") for path in PGLEDGER_FILES]
        addresses = [PGLEDGER_SOURCE.format(commit=PGLEDGER_COMMIT, path=path) for path in PGLEDGER_FILES]
        return [_download(address) for address in addresses]
    except OSError as error:
        say(f"pgledger is left out: its SQL could not be had ({error}); --pgledger names a checkout of it")
        return None


def _download(address: str) -> str:
    assert address.startswith("https://")
    with urllib.request.urlopen(address, timeout=DOWNLOAD_SECONDS_MAX) as answer:
        return str(answer.read().decode("utf-8"))
