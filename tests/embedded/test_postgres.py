"""The embedded PostgreSQL: durable, alone, gone with its supervisor, clear when it cannot start."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from embedded.postgres import EmbeddedPostgres
from embedded.processes import StartFailure, free_port, started_at

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a-password-of-the-tests"

SUPERVISOR = """
import sys, time
from pathlib import Path
from embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
server.start()
print(server.process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Iterator[EmbeddedPostgres]:
    """A started server with its own cluster and everything durable switched on."""
    home = scratch / tmp_path_factory.mktemp("pg").name
    home.mkdir(mode=0o711)
    postgres = EmbeddedPostgres(home, free_port(), PASSWORD)
    postgres.start()
    yield postgres
    postgres.stop()


def ask(server: EmbeddedPostgres, query: str) -> object:
    """One value."""
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_a_commit_survives_kill_minus_9(server: EmbeddedPostgres) -> None:
    """What was acknowledged is there after the server was killed and started again."""
    with psycopg.connect(server.admin_url) as connection:
        connection.execute("CREATE TABLE proof AS SELECT 8420 AS amount_minor")
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    server.start()
    assert ask(server, "SELECT amount_minor FROM proof") == 8420


def test_it_is_durable_checksummed_and_local(server: EmbeddedPostgres) -> None:
    """The settings money depends on."""
    settings = {name: ask(server, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "data_checksums")}
    assert settings == {"fsync": "on", "synchronous_commit": "on", "data_checksums": "on"}
    assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(server, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "C.UTF-8"


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    """Nobody on this machine gets in without the password."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url("postgres", "a-guess", "postgres"))


def test_it_never_runs_as_root(server: EmbeddedPostgres) -> None:
    """A root supervisor drops to an unprivileged user."""
    assert server.process is not None
    owner = Path(f"/proc/{server.process.pid}").stat().st_uid
    assert owner != 0


def test_it_goes_with_a_supervisor_killed_with_minus_9(scratch: Path) -> None:
    """No server is left behind, and the next supervisor starts on the same files."""
    home = scratch / "orphan"
    home.mkdir(mode=0o711)
    port = free_port()
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(home), str(port), PASSWORD],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert supervisor.stdout is not None
    server_pid = int(supervisor.stdout.readline())
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    supervisor.stdout.close()
    successor = EmbeddedPostgres(home, port, PASSWORD)
    deadline = time.monotonic() + 20
    try:
        while started_at(server_pid) is not None:
            assert time.monotonic() < deadline, "the server outlived its supervisor"
            time.sleep(0.02)
        successor.start()
        assert ask(successor, "SELECT 1") == 1
    finally:
        successor.stop()


def test_a_taken_port_is_one_sentence(scratch: Path) -> None:
    """The sentence names the port and the environment variable."""
    home = scratch / "taken"
    home.mkdir(mode=0o711)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartFailure, match=rf"^Port {port} is already in use: .*LEDGERLINE_POSTGRES_PORT"):
            EmbeddedPostgres(home, port, PASSWORD).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's home can hide files from the server's user")
def test_a_home_hidden_below_a_closed_folder_works(scratch: Path) -> None:
    """As root in a 0700 folder, data lives where the server's user can reach it, behind a link."""
    closed = scratch / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    home.mkdir()
    postgres = EmbeddedPostgres(home, free_port(), PASSWORD, place_for_root=scratch / "elsewhere")
    postgres.start()
    try:
        assert ask(postgres, "SELECT 1") == 1
        assert (home / "postgres").is_symlink()
    finally:
        postgres.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
def test_as_root_it_starts_under_a_strict_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory(prefix="ledgerline-umask-") as name:
            place = Path(name) / "place"
            Path(name).chmod(0o711)
            home = tmp_path / "home"
            home.mkdir()
            server = EmbeddedPostgres(home, free_port(), "secret", place_for_root=place)
            server.start()
            server.stop()
    finally:
        os.umask(before)
