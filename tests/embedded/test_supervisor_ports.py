"""What a person reads when `ledgerline up` cannot start: one sentence, exit code 2, no stack trace."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from embedded.instance import check_ports
from embedded.processes import StartFailure, free_port

ROOT = Path(__file__).resolve().parents[2]


def run_up(home: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command until it ends by itself."""
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "up"],
        env={**os.environ, "LEDGERLINE_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("variable", ["LEDGERLINE_API_PORT", "LEDGERLINE_TEMPORAL_PORT", "LEDGERLINE_TEMPORAL_UI_PORT"])
def test_a_port_in_use_is_one_sentence(tmp_path: Path, variable: str) -> None:
    """It names the port and the variable; nothing has been started."""
    names = ("LEDGERLINE_API_PORT", "LEDGERLINE_TEMPORAL_PORT", "LEDGERLINE_TEMPORAL_UI_PORT")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = run_up(tmp_path / "home", **{name: str(port if name == variable else free_port()) for name in names})
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"Port {port} is already in use: set {variable} to a free port")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "home" / "postgres").exists()


def test_a_setting_that_is_no_port_is_one_sentence(tmp_path: Path) -> None:
    """A typing error names its variable."""
    ended = run_up(tmp_path / "home", LEDGERLINE_API_PORT="eighty")
    assert ended.returncode == 2
    assert ended.stderr.startswith("LEDGERLINE_API_PORT is not usable")
    assert ended.stderr.count("\n") == 1


def test_two_servers_on_one_port_are_refused() -> None:
    """Found before the second fails on the first."""
    port = free_port()
    with pytest.raises(StartFailure, match=f"LEDGERLINE_RAILS_PORT and LEDGERLINE_API_PORT are both {port}"):
        check_ports({"api_port": port, "rails_port": port})
