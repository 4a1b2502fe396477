"""`mock-bank`, a bank nobody here wrote, as a process on a free port: its books, its clock, its accounts."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from embedded.processes import free_port

USER, PASSWORD = "ledgerline", "only for tests"
DEBTOR = "NL41MOCK0000000001"
CLOSED = "NL84MOCK0000000003"
ELSEWHERE = "NL30MOCK0000000005"
MAILBOX = "/_mock/mailbox?leave"


class MockBank:
    """One bank. Its account ACME pays for us; what it books is read from its own books, not from its messages."""

    def __init__(self, folder: Path, *, clock: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.password_file = folder / "bank-password"
        self.password_file.write_text(PASSWORD)
        command = [str(Path(sys.executable).with_name("mock-bank")), "--port", str(self.port)]
        command += ["--db", str(folder / "bank.db"), "--auth", f"{USER}:{PASSWORD}", "--clock", clock, "--quiet"]
        self._process = subprocess.Popen(command)
        self._client = httpx.Client(base_url=self.url, auth=(USER, PASSWORD), trust_env=False)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.call("GET", "/_mock/health")
                return
            except httpx.TransportError:
                assert self._process.poll() is None and time.monotonic() < deadline, "mock-bank did not start"
                time.sleep(0.05)

    def stop(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(10)

    def line(self, **more: str) -> dict[str, str]:
        """A line of rails.toml for this bank."""
        return {
            "url": self.url,
            "user": USER,
            "password_file": str(self.password_file),
            "mailbox_path": MAILBOX,
            **more,
        }

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()

    def orders(self, reference: str) -> list[dict[str, Any]]:
        """Every payment the bank has under a reference, in its own books; a duplicate would be a second row."""
        answer = self._client.get(f"/_mock/payments/{quote(reference, safe='')}?all")
        return [] if answer.status_code == 404 else list(answer.json())

    def account(self, **changes: Any) -> dict[str, Any]:
        """Our account after the changes."""
        return dict(self.call("PATCH", "/_mock/accounts/ACME", changes))

    def behave(self, behaviour: str, **parameters: Any) -> None:
        """What the bank does from now on with payments from our account."""
        self.account(behaviour=behaviour, parameters=parameters)

    def advance(self, days: int) -> None:
        """Move the bank's clock, and let it send what came due."""
        self.call("POST", f"/_mock/advance?days={days}")

    def messages(self, kind: str) -> list[str]:
        return [message["body"] for message in self.call("GET", f"/_mock/messages?type={kind}")]
