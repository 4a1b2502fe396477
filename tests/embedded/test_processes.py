"""Children: none outlives its parent, none is mistaken for another."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from embedded.processes import LOG_BYTES_MAX, launch, owns_port, rotate_log, started_at, stop, stop_leftover

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


def test_a_leftover_is_recognised_by_pid_and_start_time(tmp_path: Path) -> None:
    """A pid alone may belong to somebody else by now."""
    child = launch(SLEEPER, log_path=tmp_path / "log", environment=os.environ)
    started = started_at(child.pid)
    assert started is not None
    assert not stop_leftover(child.pid, started - 5, ask=signal.SIGTERM, patience_seconds=1)
    assert child.poll() is None
    assert stop_leftover(child.pid, started, ask=signal.SIGTERM, patience_seconds=5)
    assert child.wait(5) == -signal.SIGTERM


def test_one_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    """Patience ends."""
    log = tmp_path / "log"
    child = launch(STUBBORN, log_path=log, environment=os.environ)
    while "deaf" not in log.read_text():
        time.sleep(0.01)
    assert stop(child, ask=signal.SIGTERM, patience_seconds=0.2) == -signal.SIGKILL


def test_a_port_belongs_to_the_process_that_listens() -> None:
    """Somebody else's server on our port is not ours."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert owns_port(os.getpid(), port)
        other = subprocess.Popen(SLEEPER)
        assert not owns_port(other.pid, port)
        other.kill()
        other.wait()


def test_ctrl_c_in_the_terminal_does_not_reach_children(tmp_path: Path) -> None:
    """They have a session of their own; the supervisor stops them in order."""
    child = launch(SLEEPER, log_path=tmp_path / "log", environment=os.environ)
    assert os.getsid(child.pid) == child.pid
    stop(child, ask=signal.SIGTERM, patience_seconds=5)


def test_long_logs_move_aside(tmp_path: Path) -> None:
    """Rotation happens at a start and keeps a few."""
    path = tmp_path / "api.log"
    for number in range(5):
        path.write_bytes(f"{number}\n".encode() * LOG_BYTES_MAX)
        rotate_log(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["api.log.1", "api.log.2", "api.log.3"]
    assert (tmp_path / "api.log.1").read_bytes()[:1] == b"4"
