"""`ledgerline up`: start everything on one machine in order, keep it running, stop it in order.

It decides order, ports, restarts and what a person is told. A second `up` on the same home does not
start anything: it waits for the first and watches it.
"""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from embedded.home import Home
from embedded.instance import Instance, migrate_database, plan_instance, prepare_namespace, write_sandbox_file
from embedded.processes import StartFailure, started_at, stop_leftover
from embedded.seed import seed_accounts, seed_keys
from embedded.status import ServerStatus, StatusBoard
from settings import Settings

READY_LINE = "ledgerline ready"
LOOK_SECONDS = 0.25
RESTART_DELAYS_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
STOPPING_SECONDS_MAX = 20.0
STEADY_SECONDS = 60.0
"""A server that ran this long starts over at the shortest delay when it dies."""


class StopRequested(BaseException):
    """Ctrl-C or SIGTERM; not an Exception, so nothing on the way swallows it."""


class Server(Protocol):
    """What the supervisor needs of each thing it runs."""

    process: "subprocess.Popen[bytes] | None"

    def start(self) -> None:
        """Start and return when it answers. Raises: StartFailure."""

    def stop(self) -> None:
        """Stop it in order."""


@dataclass(slots=True, kw_only=True)
class Watched:
    """A server and its fate so far."""

    name: str
    server: Server
    where: str
    restarts: int = 0
    failures: int = 0
    started: float = 0.0
    retry_at: float = 0.0
    state: str = field(default="not started")

    def pid(self) -> int | None:
        """Pid while it lives."""
        process = self.server.process
        return process.pid if process is not None and process.poll() is None else None


class Supervisor:
    """Runs one instance in the foreground until it is told to stop. Use it from the main thread."""

    def __init__(self, settings: Settings, board: StatusBoard) -> None:
        self._settings = settings
        self._board = board
        self._home = Home(settings.home)
        self._watched: list[Watched] = []

    def run(self) -> int:
        """Return the exit code: 0 after a requested stop, 2 when something cannot start."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _request_stop)
        try:
            self._home.prepare()
            while not self._home.try_lock():
                if self._attach():
                    return 0
            self._home.update_state(ready=False)
            self._home.sandbox_file.unlink(missing_ok=True)
            self._stop_leftovers()
            self._start_everything()
            self._watch()
        except StopRequested:
            return 0
        except StartFailure as failure:
            self._board.fail(str(failure))
            return 2
        finally:
            self._stop_everything()
        return 0

    def _start_everything(self) -> None:
        instance = plan_instance(self._settings, self._home)
        if instance.postgres is not None:
            self._start("PostgreSQL", instance.postgres, f"127.0.0.1:{instance.postgres.port}")
        self._step("Schema", lambda: migrate_database(instance))
        seed_keys(instance.database.admin_url, test_key=instance.secrets.test_key, admin_key=instance.secrets.admin_key)
        if instance.temporal is None:
            self._step("Search attributes", lambda: prepare_namespace(instance))
        else:
            self._start("Temporal", instance.temporal, instance.temporal.ui_url or instance.temporal.address)
        if instance.rails is not None:
            self._start("Sandbox rails", instance.rails, instance.rails_url)
        self._start("API and worker", instance.api, instance.api_url)
        self._step("Sandbox accounts", lambda: seed_accounts(instance.api_url, instance.secrets.test_key))
        write_sandbox_file(instance)
        self._home.update_state(ready=True, urls=instance.urls())
        self._say_ready(instance)

    def _start(self, name: str, server: Server, where: str) -> None:
        watched = Watched(name=name, server=server, where=where)
        self._watched.append(watched)
        self._step(name, server.start, where)
        self._note_running(watched)

    def _step(self, name: str, act: Callable[[], None], where: str = "") -> None:
        began = time.monotonic()
        self._board.progress(f"starting: {name} …")
        act()
        self._board.note(f"{name:<17} ready in {time.monotonic() - began:4.1f} s   {where}".rstrip())

    def _note_running(self, watched: Watched) -> None:
        watched.state = "running"
        watched.started = time.monotonic()
        self._record_processes()

    def _record_processes(self) -> None:
        """Remember pid and start time of every child, for a successor of a supervisor killed with -9."""
        processes = {}
        for watched in self._watched:
            pid = watched.pid()
            start_time = started_at(pid) if pid is not None else None
            if start_time is not None:
                processes[watched.name] = {"pid": pid, "started_at": start_time}
        self._home.update_state(processes=processes)

    def _stop_leftovers(self) -> None:
        """Stop what an earlier supervisor of this home left running; it could not, having been killed."""
        remembered = self._home.read_state().get("processes", {})
        for name, process in reversed(list(remembered.items())):
            ask = signal.SIGINT if name == "PostgreSQL" else signal.SIGTERM
            if stop_leftover(process["pid"], process["started_at"], ask=ask, patience_seconds=10.0):
                self._board.note(f"{name}: stopped the one an earlier run left behind (pid {process['pid']})")

    def _say_ready(self, instance: Instance) -> None:
        for line in instance.urls():
            self._board.note(line)
        self._board.note(READY_LINE)

    def _watch(self) -> None:
        while True:
            now = time.monotonic()
            for watched in self._watched:
                if watched.pid() is None and now >= watched.retry_at:
                    self._restart(watched)
            self._board.show(
                [
                    ServerStatus(name=w.name, state=w.state, where=w.where, pid=w.pid(), restarts=w.restarts)
                    for w in self._watched
                ]
            )
            time.sleep(LOOK_SECONDS)

    def _restart(self, watched: Watched) -> None:
        if watched.state == "running":
            process = watched.server.process
            code = process.returncode if process is not None else None
            watched.state = "restarting"
            watched.failures = 0 if time.monotonic() - watched.started > STEADY_SECONDS else watched.failures
            self._board.note(f"{watched.name} ended (exit code {code}); starting it again")
        try:
            watched.server.start()
        except StartFailure as failure:
            watched.failures = min(watched.failures + 1, len(RESTART_DELAYS_SECONDS) - 1)
            delay = RESTART_DELAYS_SECONDS[watched.failures]
            watched.retry_at = time.monotonic() + delay
            watched.state = "restarting"
            self._board.note(f"{failure} Trying again in {delay:.0f} s.")
            return
        watched.restarts += 1
        self._note_running(watched)
        self._board.note(f"{watched.name} runs again")

    def _stop_everything(self) -> None:
        """Stop in reverse order: the API drains first, PostgreSQL goes last. Signals no longer interrupt."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._board.close()
        if not self._watched:
            return
        self._board.note("stopping …")
        self._home.sandbox_file.unlink(missing_ok=True)
        self._home.update_state(ready=False)
        for watched in reversed(self._watched):
            watched.server.stop()
            self._board.note(f"{watched.name}: stopped")
        self._home.update_state(processes={})
        self._board.note("stopped; nothing is lost, the next start carries on")

    def _attach(self) -> bool:
        """Watch another supervisor of this home. False: it was about to go away, take over."""
        owner = self._home.owner_pid()
        self._board.note(f"another `ledgerline up` (pid {owner}) runs in {self._home.folder}; waiting for it")
        while not self._home.read_state().get("ready"):
            if self._home.lock_is_free():
                return False
            time.sleep(LOOK_SECONDS)
        for line in self._home.read_state().get("urls", []):
            self._board.note(line)
        self._board.note(f"attached to pid {self._home.owner_pid()}; Ctrl-C here leaves it running")
        self._board.note(READY_LINE)
        attached = time.monotonic()
        while not self._home.lock_is_free():
            time.sleep(LOOK_SECONDS)
        self._board.note(f"the instance of pid {owner} has ended")
        # It was on its way out when this one came: whoever typed `up` wants it up.
        return time.monotonic() - attached > STOPPING_SECONDS_MAX


def _request_stop(number: int, frame: FrameType | None) -> None:
    raise StopRequested(number)
