"""The SDKs' consumers count each event once, whatever arrives: the same in Python and in TypeScript."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ledgerline_sdk import SignatureError, SqliteCursorStore, WebhookConsumer
from ledgerline_sdk.consumer import GapError

from events.signing import SignatureKind, new_secret, signed_headers
from tests.node_peers import NODE_FOLDER, node_environment

SECRET = new_secret(SignatureKind.V1)
STRANGER = new_secret(SignatureKind.V1)
EVENTS = [{"id": f"evt_{n}", "sequence": n, "type": "charge.settled", "data": {"object": {}}} for n in range(1, 9)]
KNOWN = [event for event in EVENTS if event["sequence"] != 6]
ARRIVING = (1, 1, 2, 5, 3, 4, 5, 7, 2)
"""Again, one that overtook two, those two late, and one whose predecessor cannot be had."""

RECEIPTS: list[Any] = [
    *({"handled": [1], "duplicate": False}, {"handled": [], "duplicate": True}, {"handled": [2], "duplicate": False}),
    {"handled": [3, 4, 5], "duplicate": False},
    *({"handled": [], "duplicate": True},) * 3,
    "GapError",
    {"handled": [], "duplicate": True},
    "SignatureError",
]


def deliveries() -> list[dict[str, Any]]:
    """What arrives, and a forgery at the end."""
    sent = [(SECRET, EVENTS[sequence - 1]) for sequence in ARRIVING] + [(STRANGER, EVENTS[7])]
    bodies = [(secret, event["id"], json.dumps(event).encode()) for secret, event in sent]
    return [
        {"headers": signed_headers([secret], str(name), body), "body": body.decode()} for secret, name, body in bodies
    ]


def test_rule_32_the_python_consumer_counts_each_once(tmp_path: Path) -> None:
    store = SqliteCursorStore(tmp_path / "cursor.db")
    with store.transaction() as position:
        position.connection.execute("CREATE TABLE seen (sequence INTEGER)")

    def handle(event: dict[str, Any], connection: Any) -> None:
        connection.execute("INSERT INTO seen VALUES (?)", (event["sequence"],))

    def pull(after: int) -> Iterator[dict[str, Any]]:
        yield from (event for event in KNOWN if int(str(event["sequence"])) > after)

    consumer = WebhookConsumer(secrets=[SECRET.text], store=store, handle=handle, pull=pull)
    receipts: list[Any] = []
    for one in deliveries():
        try:
            receipt = consumer.receive(one["headers"], one["body"].encode())
            receipts.append({"handled": list(receipt.handled), "duplicate": receipt.duplicate})
        except (GapError, SignatureError) as error:
            receipts.append(type(error).__name__)
    assert receipts == RECEIPTS
    with store.transaction() as position:
        assert position.connection.execute("SELECT sequence FROM seen").fetchall() == [(n,) for n in range(1, 6)]
    store.close()


def test_rule_32_the_typescript_consumer_counts_each_once() -> None:
    script = Path(__file__).parents[1] / "node" / "consume.mjs"
    answer = subprocess.run(
        [str(NODE_FOLDER / "node"), "--experimental-strip-types", "--no-warnings", str(script)],
        input=json.dumps({"secret": SECRET.text, "deliveries": deliveries(), "events": KNOWN}),
        env=node_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    counted = json.loads(answer.stdout)
    assert counted["receipts"] == RECEIPTS and counted["handled"] == [1, 2, 3, 4, 5]
