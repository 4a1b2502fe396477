"""`ledgerline up` as a command: what it leaves in the home, how it ends, how a second one joins it."""

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.instance import READY_LINE, ROOT, LedgerlineInstance, running_instance

ACCOUNTS = ("acct_user_8f3c", "acct_merch_a21")


@pytest.fixture(scope="module")
def own(scratch: Path) -> Iterator[LedgerlineInstance]:
    """An instance that only these tests stop and kill."""
    with running_instance(scratch / "up-home") as running:
        yield running


def balances(own: LedgerlineInstance) -> dict[str, int]:
    """Posted minor units of the seeded accounts."""
    headers = {"Authorization": f"Bearer {own.sandbox['test_key']}"}
    addresses = {account: f"{own.sandbox['api_url']}/v1/accounts/{account}/balance" for account in ACCOUNTS}
    return {name: httpx.get(address, headers=headers).json()["posted"] for name, address in addresses.items()}


def test_sandbox_json_is_the_contract_and_closed_to_others(own: LedgerlineInstance) -> None:
    """Every field of the contract, readable by its owner only."""
    fields = {"api_url", "test_key", "admin_key", "temporal_address", "temporal_ui_url", "database_url", "rails_url"}
    assert fields <= own.sandbox.keys()
    assert stat.S_IMODE((own.home / "sandbox.json").stat().st_mode) == 0o600
    assert "ledgerline_app" in own.sandbox["database_url"]


def test_its_output_names_the_urls_and_the_key_and_then_is_ready(own: LedgerlineInstance) -> None:
    """The ready line stands alone, once, after everything a newcomer needs."""
    before, after = own.output().split(f"\n{READY_LINE}\n")
    for field in ("api_url", "temporal_ui_url", "test_key"):
        assert own.sandbox[field] in before
    assert after == ""


def test_a_second_up_joins_the_first_and_leaves_it_alone(own: LedgerlineInstance, tmp_path: Path) -> None:
    """It prints the same URLs and the ready line; Ctrl-C ends only itself."""
    output = tmp_path / "second.log"
    with output.open("wb") as log:
        command = [sys.executable, str(ROOT / "cli.py"), "up"]
        second = subprocess.Popen(command, env=own.environment, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 20
    while READY_LINE not in output.read_text().splitlines():
        assert second.poll() is None and time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)
    assert own.sandbox["api_url"] in output.read_text()
    assert f"attached to pid {own.sandbox['pid']}" in output.read_text()
    second.send_signal(signal.SIGINT)
    assert second.wait(10) == 0
    assert own.is_healthy()


def test_after_kill_minus_9_of_everything_the_next_start_carries_on(own: LedgerlineInstance) -> None:
    """Same addresses, same keys, same balances; seeding again changed nothing."""
    before, sandbox = balances(own), {**own.sandbox}
    own.kill_everything()
    own.start()
    assert {**own.sandbox, "pid": 0} == {**sandbox, "pid": 0}
    assert balances(own) == before == dict.fromkeys(ACCOUNTS, 1_000_000)


def test_ctrl_c_ends_everything_cleanly(own: LedgerlineInstance) -> None:
    """Exit code 0, nothing left running, no sandbox.json that points at nothing; and it starts again."""
    assert own.stop() == 0
    assert own.output().endswith("stopped; nothing is lost, the next start carries on\n")
    assert not (own.home / "sandbox.json").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(own.sandbox["api_url"])
    own.start()
    assert balances(own) == dict.fromkeys(ACCOUNTS, 1_000_000)
