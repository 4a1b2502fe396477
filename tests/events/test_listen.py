"""`ledgerline listen` prints the sandbox's events and forwards them, signed."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import uvicorn
from standardwebhooks import Webhook

from tests.api.conftest import Shop, World
from tests.conftest import ROOT
from tests.events.conftest import until
from tests.events.receiver import Receiver


async def test_events_are_printed_and_forwarded_with_a_signature(
    world: World, shop: Shop, receiver: Receiver, tmp_path: Path
) -> None:
    app = shop.http._transport.app  # type: ignore[attr-defined]
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    home = tmp_path / "home"
    (home / "secrets").mkdir(parents=True)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    (home / "sandbox.json").write_text(json.dumps({"api_url": address, "test_key": shop.key}))
    command = [sys.executable, "-m", "cli", "listen", "--forward-to", receiver.url, "--after", "0", "--count", "2"]
    listener = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, "LEDGERLINE_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
    )
    for name in ("acct_heard", "acct_heard_too"):
        await shop.post("/accounts", {"currency": "EUR", "id": name})
    out, _ = await asyncio.wait_for(listener.communicate(), 60)
    await until(lambda: len(receiver.received) == 2)
    lines = out.decode().splitlines()
    secret = lines[0].removeprefix("signing secret: ")
    for one in receiver.received:
        Webhook(secret).verify(one.body, one.headers)
    assert [one.event["data"]["object"]["id"] for one in receiver.received] == ["acct_heard", "acct_heard_too"]
    assert "account.created" in lines[1] and lines[2].strip().startswith("<-- 200")
    assert (home / "secrets" / "listen_secret").stat().st_mode & 0o077 == 0
    server.should_exit = True
    await serving
