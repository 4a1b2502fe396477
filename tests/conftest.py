"""What all tests share: one real PostgreSQL, one real Temporal server, one process of sandbox rails.

Each starts when the first test asks for it, on a free port, with its files in a temporary folder.
"""

import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import hypothesis
import psycopg
import pytest
from psycopg import sql

from embedded.postgres import EmbeddedPostgres
from embedded.processes import free_port, launch, log_tail, stop
from embedded.temporal import EmbeddedTemporal
from ledger.migrate import migrate

# No example fails for being slow: machines are noisy, and what is timed is timed by the benchmarks.
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
# One run of CI repeats exactly on the same commit; developers' runs go on looking for new examples.
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("here"), derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "ledgerline_template"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestDatabase:
    """One migrated database: libpq URLs as superuser, schema owner, worker (`app`) and HTTP reader (`api`)."""

    __test__ = False

    name: str
    admin_url: str
    owner_url: str
    app_url: str
    api_url: str


class DatabaseServer:
    """The test run's PostgreSQL server and the passwords of its roles."""

    def __init__(self, home: Path, *, settings: Mapping[str, str]) -> None:
        self.passwords = {role: secrets.token_hex(16) for role in ("owner", "app", "api")}
        self.server = EmbeddedPostgres(home, free_port(), secrets.token_hex(16), settings=settings)
        self._template_ready = False

    @property
    def admin_url(self) -> str:
        """URL of the superuser in database `postgres`."""
        return self.server.admin_url

    def create(self, name: str) -> TestDatabase:
        """Return a new database with every migration applied (copied from one migrated once)."""
        if not self._template_ready:
            self._make_template()
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER ledgerline_owner").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )
        return TestDatabase(
            name=name,
            admin_url=self.server.url("postgres", self.server.password, name),
            **{
                f"{role}_url": self.server.url(f"ledgerline_{role}", password, name)
                for role, password in self.passwords.items()
            },
        )

    def drop(self, name: str) -> None:
        """Drop a database and whoever is still connected to it."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _make_template(self) -> None:
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        migrate(
            self.server.url("postgres", self.server.password, TEMPLATE),
            app_password=self.passwords["app"],
            api_password=self.passwords["api"],
            owner_password=self.passwords["owner"],
        )
        self._template_ready = True

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder an unprivileged server may enter, gone after the run (pytest's own are closed to others)."""
    with tempfile.TemporaryDirectory(prefix="ledgerline-tests-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[DatabaseServer]:
    """The run's PostgreSQL server; `.admin_url` is its superuser, `.create(name)` gives migrated databases."""
    home = scratch / "postgres-home"
    home.mkdir(mode=0o711)
    # No fsync: what is tested survives processes, not power cuts; embedded tests start their own with it on.
    server = DatabaseServer(home, settings={"fsync": "off"})
    server.server.start()
    yield server
    server.server.stop()


@pytest.fixture(scope="module")
def database(postgres: DatabaseServer, request: pytest.FixtureRequest) -> Iterator[TestDatabase]:
    """A freshly migrated database for one test module."""
    name = f"test_{request.module.__name__.rsplit('.', 1)[-1]}_{secrets.token_hex(4)}"[-60:]
    created = postgres.create(name)
    yield created
    postgres.drop(name)


@pytest.fixture
def fresh_database(postgres: DatabaseServer) -> Iterator[TestDatabase]:
    """A freshly migrated database for one test."""
    name = f"test_{secrets.token_hex(6)}"
    created = postgres.create(name)
    yield created
    postgres.drop(name)


@pytest.fixture(scope="session")
def temporal(scratch: Path) -> Iterator[EmbeddedTemporal]:
    """A real Temporal dev server with Ledgerline's search attributes; `.address`, `.namespace`."""
    home = scratch / "temporal-home"
    home.mkdir()
    server = EmbeddedTemporal(home, free_port(), None)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rails_sandbox(scratch: Path) -> Iterator[str]:
    """The URL of a process of sandbox rails."""
    folder = scratch / "rails"
    folder.mkdir()
    port, log = free_port(), scratch / "rails.log"
    process = launch(
        [sys.executable, "-m", "rails.sandbox", "--port", str(port), "--data", str(folder)],
        log_path=log,
        environment={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while not _answers(f"{url}/healthz"):
        assert process.poll() is None and time.monotonic() < deadline, log_tail(log)
        time.sleep(0.05)
    yield url
    stop(process, ask=signal.SIGTERM, patience_seconds=5)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.TransportError:
        return False


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without unloading temporalio, which aborts one process in five at exit (sdk-python issue 300).

    Runs after fixtures are torn down and the summary is printed.
    """
    status = getattr(config, "ledgerline_exit_status", None)
    if status is not None and "temporalio" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(status))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember the status that `pytest_unconfigure` leaves with."""
    session.config.ledgerline_exit_status = exitstatus  # type: ignore[attr-defined]
