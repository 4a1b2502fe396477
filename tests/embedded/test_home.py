"""LEDGERLINE_HOME: closed to others, one supervisor, remembered ports, clear sentences."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import embedded.home
from embedded.home import Home, write_private
from embedded.processes import StartFailure, port_is_free

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A prepared home that this test supervises."""
    prepared = Home(tmp_path / "home")
    prepared.prepare()
    assert prepared.try_lock()
    return prepared


def test_secrets_are_made_once_and_closed_to_others(home: Home) -> None:
    """The same secrets every time, each in a file of mode 0600 in a folder of mode 0700."""
    first = home.secrets()
    assert Home(home.folder).secrets() == first
    assert first.test_key.startswith("sk_test_") and first.admin_key.startswith("ak_")
    assert first.test_key not in repr(first)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.secrets_folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(home.secrets_folder.stat().st_mode) == 0o700


def test_a_home_has_one_supervisor(home: Home) -> None:
    """A second one is refused while the first lives, and told who that is."""
    second = Home(home.folder)
    assert not second.try_lock()
    assert not second.lock_is_free()
    assert second.owner_pid() == os.getpid()


def test_the_lock_of_a_killed_supervisor_is_free(tmp_path: Path) -> None:
    """A lock ends with its owner, however that ends: nothing stale has to be removed by hand."""
    script = (
        "import os, sys; from pathlib import Path; from embedded.home import Home\n"
        "home = Home(Path(sys.argv[1])); home.prepare(); assert home.try_lock(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False)
    assert Home(tmp_path).try_lock()


def test_chosen_ports_are_remembered(home: Home) -> None:
    """0 and nothing configured choose a free port and keep it; a configured one is taken as it is."""
    chosen = home.choose_port("rails_port", None)
    assert port_is_free(chosen)
    assert home.choose_port("rails_port", 0) == chosen
    assert home.choose_port("rails_port", 9999) == 9999


def test_a_remembered_port_that_was_taken_is_replaced(home: Home) -> None:
    """Nobody configured it, so another will do."""
    chosen = home.choose_port("rails_port", None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", chosen))
        other.listen()
        assert home.choose_port("rails_port", None) != chosen


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is written, with how much is free and needed."""
    monkeypatch.setattr(embedded.home, "FREE_BYTES_MIN", 10**18)
    with pytest.raises(StartFailure, match=r"^The disk of .* is full: \d+ MB are free and at least \d+ MB are needed"):
        Home(tmp_path / "home").prepare()


def test_an_unwritable_home_is_one_sentence() -> None:
    """Not even root can write below /proc."""
    with pytest.raises(StartFailure, match=r"^LEDGERLINE_HOME /proc/ledgerline cannot be written"):
        Home(Path("/proc/ledgerline")).prepare()


def test_private_files_are_replaced_whole(tmp_path: Path) -> None:
    """Nothing half-written is ever seen, and nothing is left behind."""
    path = tmp_path / "state.json"
    for number in range(3):
        write_private(path, json.dumps({"number": number}))
    assert json.loads(path.read_text()) == {"number": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
