"""The sandbox as a process: what a kill -9 leaves, chargebacks, bad input, taken folders and ports."""

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from domain.rail import Flow, Outcome, RailRequest
from rails.registry import build_rails
from tests.rails.sandbox_process import ROOT, SandboxProcess

SECRET = "whsec_of_this_test"


def sale(key: str, source: str = "tok_ordinary", *, capture: bool = True, deadline_seconds: float = 2.0) -> RailRequest:
    return RailRequest(
        rail="card_alpha",
        flow=Flow.AUTHORIZE,
        rail_key=key,
        amount_minor=700,
        currency="EUR",
        merchant_id="mer_process",
        mode="test",
        source=source,
        capture=capture,
        deadline_seconds=deadline_seconds,
    )


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path / "rails")
    process.start()
    yield process
    process.stop()


async def test_truth_survives_kill_and_a_torn_last_line(own_sandbox: SandboxProcess) -> None:
    rails = build_rails(sandbox_url=own_sandbox.url)
    alpha = rails.adapter("card_alpha")
    await asyncio.gather(*(alpha.execute(sale(f"op_{number}:1"), None) for number in range(20)))
    await alpha.execute(sale("op_0:1"), None)
    lost = sale("op_lost:1", "tok_timeout_approved", deadline_seconds=0.3)
    assert (await alpha.execute(lost, None)).outcome is Outcome.UNKNOWN
    before = own_sandbox.truth()

    own_sandbox.kill()
    assert (await alpha.execute(sale("op_down:1"), None)).outcome is Outcome.NOT_ATTEMPTED
    with own_sandbox.truth_file.open("ab") as journal:
        journal.write(b'{"line":"operation","rail":"card_alpha","rail_key":"op_to')
    own_sandbox.start()

    assert own_sandbox.truth() == before
    assert len(before["operations"]) == 21
    again = await alpha.execute(sale("op_0:1"), None)
    assert again.outcome is Outcome.APPROVED
    row = own_sandbox.row("op_0:1")
    assert row is not None and row["calls"] == 3
    own_sandbox.kill()
    own_sandbox.start()
    assert own_sandbox.row("op_0:1") == row
    await rails.aclose()


async def test_kill_in_the_middle_of_orders_keeps_every_answered_one(own_sandbox: SandboxProcess) -> None:
    rails = build_rails(sandbox_url=own_sandbox.url)
    alpha = rails.adapter("card_alpha")
    orders = [asyncio.create_task(alpha.execute(sale(f"mid_{number}:1"), None)) for number in range(150)]
    await asyncio.sleep(0.05)
    own_sandbox.kill()
    answers = await asyncio.gather(*orders)
    own_sandbox.start()
    kept = {row["rail_key"] for row in own_sandbox.truth()["operations"]}
    for number, answer in enumerate(answers):
        assert answer.outcome in (Outcome.APPROVED, Outcome.UNKNOWN, Outcome.NOT_ATTEMPTED)
        if answer.outcome is Outcome.APPROVED:
            assert f"mid_{number}:1" in kept
        if answer.outcome is Outcome.NOT_ATTEMPTED:
            assert f"mid_{number}:1" not in kept
    await rails.aclose()


class CallbackReceiver:
    """A real HTTP server that turns away the first callbacks."""

    def __init__(self, turned_away: int) -> None:
        self.bodies: list[bytes] = []
        self.signatures: list[str] = []
        receiver = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies.append(body)
                receiver.signatures.append(self.headers["Rail-Signature"])
                self.send_response(500 if len(receiver.bodies) <= turned_away else 204)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/rail-callbacks"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(15):
            while len(self.bodies) < count:
                await asyncio.sleep(0.02)


async def test_chargeback_is_signed_repeated_until_taken_and_survives_a_restart(tmp_path: Path) -> None:
    receiver = CallbackReceiver(turned_away=2)
    process = SandboxProcess(tmp_path / "rails", callback_url=receiver.url, callback_secret=SECRET)
    process.start()
    rails = build_rails(sandbox_url=process.url)
    try:
        await rails.adapter("card_alpha").execute(sale("ch_disputed:1", "tok_disputed"), None)
        await receiver.wait_for(1)
        process.kill()
        process.start()
        await receiver.wait_for(3)
        callback = json.loads(receiver.bodies[-1])
        reference = callback.pop("reference")
        assert callback.pop("id").startswith("rdp_") and reference.startswith("card_alpha_")
        assert callback == {
            "type": "dispute.created",
            "kind": "chargeback",
            "rail": "card_alpha",
            "rail_key": "ch_disputed:1",
            "amount": 700,
            "currency": "EUR",
            "reason": "fraudulent",
        }
        timestamp, signature = (part.split("=", 1)[1] for part in receiver.signatures[-1].split(","))
        signed = f"{timestamp}.".encode() + receiver.bodies[-1]
        assert hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest() == signature
        async with asyncio.timeout(5):
            while not process.truth()["disputes"][0]["delivered"]:
                await asyncio.sleep(0.02)
        assert len(receiver.bodies) == 3
    finally:
        await rails.aclose()
        process.stop()
        receiver.close()


async def test_chargeback_follows_the_capture_not_the_authorization(own_sandbox: SandboxProcess) -> None:
    rails = build_rails(sandbox_url=own_sandbox.url)
    alpha = rails.adapter("card_alpha")
    await alpha.execute(sale("ch_later:1", "tok_disputed", capture=False), None)
    assert own_sandbox.truth()["disputes"] == []
    for number in (1, 2):
        capture = RailRequest(
            rail="card_alpha",
            flow=Flow.CAPTURE,
            rail_key=f"ch_later.capture{number}:1",
            amount_minor=200,
            currency="EUR",
            merchant_id="mer_process",
            mode="test",
            original_rail_key="ch_later:1",
        )
        assert (await alpha.execute(capture, None)).final_funds
    disputes = own_sandbox.truth()["disputes"]
    assert [(dispute["rail_key"], dispute["amount"]) for dispute in disputes] == [("ch_later:1", 200)]
    await rails.aclose()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"amount":1.5,"currency":"EUR","source":"tok_a"}', b'{"amount":-1,"currency":"EUR"}',
     b'{"amount":true,"currency":"EUR","source":"tok_a"}', b'{"amount":1,"source":"tok_a"}',
     b'{"amount":1,"currency":"EUR"}'],
)  # fmt: skip
def test_malformed_orders_have_no_effect(sandbox: SandboxProcess, body: bytes) -> None:
    url = f"{sandbox.url}/rails/card_alpha/authorize"
    answer = httpx.post(url, content=body, headers={"Idempotency-Key": "op_malformed:1"}, trust_env=False)
    assert answer.status_code == 422
    assert sandbox.row("op_malformed:1") is None


def test_unknown_rails_and_flows_are_not_found(sandbox: SandboxProcess) -> None:
    for path in ("/rails/card_omega/authorize", "/rails/card_alpha/payout", "/rails/bank_instant/authorize"):
        assert httpx.post(f"{sandbox.url}{path}", json={}, trust_env=False).status_code == 404


def test_faults_are_reproducible_from_their_seed(sandbox: SandboxProcess) -> None:
    def pattern() -> list[int]:
        sandbox.inject(rail="card_beta", kind="error500", probability=0.5, seed=7)
        statuses = [
            httpx.get(f"{sandbox.url}/rails/card_beta/operations/op_{number}", trust_env=False).status_code
            for number in range(12)
        ]
        sandbox.heal()
        return statuses

    first = pattern()
    assert set(first) == {404, 500}
    assert pattern() == first


def test_second_process_on_the_same_folder_or_port_says_so(own_sandbox: SandboxProcess, tmp_path: Path) -> None:
    def start(port: str, folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rails.sandbox", "--port", port, "--data", str(folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)

    same_folder = start("0", own_sandbox.truth_file.parent)
    assert same_folder.returncode == 1 and "already keeps the truth" in same_folder.stderr
    same_port = start(own_sandbox.url.rpartition(":")[2], tmp_path / "other")
    assert same_port.returncode == 1 and "cannot be used" in same_port.stderr
