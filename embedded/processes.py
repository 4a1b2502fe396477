"""How child processes are started so that none outlives its supervisor, and how they are stopped.

Every child gets its own session (Ctrl-C in the terminal reaches only the supervisor, which then
stops children in order) and a parent-death signal (a supervisor killed with -9 takes them along).
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
LOG_BYTES_MAX = 5_000_000
LOGS_KEPT = 3

_libc = ctypes.CDLL(None, use_errno=True)


class StartFailure(Exception):
    """Something cannot start; the message is one sentence for a person. Not retryable."""


def launch(
    command: Sequence[str],
    *,
    log_path: Path,
    environment: Mapping[str, str],
    death_signal: signal.Signals = signal.SIGTERM,
    uid: int | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child that logs to a file and dies with this process.

    Call it from the main thread: the kernel sends the death signal when the starting *thread* ends.
    `uid` drops to that user and group with no further groups (needs root).

    Raises:
        OSError: the program cannot be executed. Not retryable.
    """
    with log_path.open("ab") as log:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
            umask=0o077,
            preexec_fn=_arrange_death(death_signal),
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )


def die_with_parent(death_signal: signal.Signals) -> None:
    """Have the kernel send this process a signal when the process that started it ends, however it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal))


def _arrange_death(death_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def arrange_death() -> None:
        # Runs after the change of user, which would otherwise clear the setting.
        if _libc.prctl(PR_SET_PDEATHSIG, int(death_signal)) != 0 or os.getppid() != parent:
            os._exit(126)

    return arrange_death


def stop(process: "subprocess.Popen[bytes]", *, ask: signal.Signals, patience_seconds: float) -> int | None:
    """Ask a child to end, wait, and kill it only when patience runs out. Returns its exit code."""
    if process.poll() is None:
        process.send_signal(ask)
        try:
            process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def started_at(pid: int) -> float | None:
    """Return when a live process started (epoch seconds), None if there is none: pid and start name a process."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def stop_leftover(pid: int, start_time: float, *, ask: signal.Signals, patience_seconds: float) -> bool:
    """Stop a process of an earlier supervisor, recognised by pid and start time. Returns whether it was alive."""
    if started_at(pid) != start_time:
        return False
    for asked, patience in ((ask, patience_seconds), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, asked)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if started_at(pid) != start_time:
                return True
            time.sleep(0.05)
    return True


def free_port() -> int:
    """Return a loopback TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now (old connections in TIME_WAIT don't count)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def owns_port(pid: int, port: int) -> bool:
    """Tell whether this very process listens on a TCP port: somebody else's server may answer there too."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr and c.laddr[1] == port for c in connections)


def rotate_log(path: Path) -> None:
    """Move a log aside when it has grown past LOG_BYTES_MAX, keeping the last LOGS_KEPT. Call it before a start."""
    if not path.exists() or path.stat().st_size < LOG_BYTES_MAX:
        return
    for number in range(LOGS_KEPT, 1, -1):
        older = path.with_suffix(f".log.{number - 1}")
        if older.exists():
            older.replace(path.with_suffix(f".log.{number}"))
    path.replace(path.with_suffix(".log.1"))


def log_tail(path: Path, since_bytes: int = 0, characters: int = 4000) -> str:
    """Return the end of a log, of what was written after `since_bytes`."""
    try:
        with path.open("rb") as log:
            log.seek(since_bytes)
            return log.read()[-characters:].decode(errors="replace")
    except FileNotFoundError:
        return ""
