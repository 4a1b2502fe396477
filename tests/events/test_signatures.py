"""Signatures are what others verify: npm's standardwebhooks and svix, PyPI's standardwebhooks; and not a bit else."""

import base64
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from ledgerline_sdk import SignatureError, SqliteCursorStore, WebhookConsumer
from standardwebhooks import Webhook, WebhookVerificationError

from activities.webhook_secrets import CustodianWrapper
from events.sealing import SecretSealer, expiring, unexpired
from events.signing import SignatureKind, new_secret, signed_headers
from tests.node_peers import NODE_FOLDER, node_environment
from vault.custodian import FileCustodian

SCRIPT = Path(__file__).parents[1] / "node" / "verify_webhooks.cjs"
BODY = '{"id":"evt_1","sequence":1,"data":{"object":{"name":"Ünïcode ✓"}}}'.encode()
SECRET = new_secret(SignatureKind.V1)
OFF = timedelta(seconds=310)


def npm_accepts(deliveries: list[tuple[str, dict[str, str], bytes]]) -> list[dict[str, bool]]:
    """What the two verifiers from npm say to each delivery."""
    asked = [{"secret": secret, "headers": headers, "body": body.decode()} for secret, headers, body in deliveries]
    answer = subprocess.run(
        [str(NODE_FOLDER / "node"), str(SCRIPT)],
        input=json.dumps(asked),
        env=node_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout)  # type: ignore[no-any-return]


def python_accepts(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def sdk_accepts(consumer: WebhookConsumer, headers: dict[str, str], body: bytes) -> bool:
    try:
        consumer.receive(headers, body)
    except SignatureError:
        return False
    return True


@pytest.fixture
def consumer(tmp_path: Path) -> WebhookConsumer:
    store = SqliteCursorStore(tmp_path / "cursor.db")
    return WebhookConsumer(secrets=[SECRET.text], store=store, handle=lambda event, connection: None)


def test_rule_33_npm_and_pypi_verifiers_accept_our_signatures() -> None:
    """Also while a secret rotates, by the old and by the new one, and beside an Ed25519 signature."""
    newer, pair = new_secret(SignatureKind.V1), new_secret(SignatureKind.V1A)
    headers = signed_headers([newer, SECRET, pair], "evt_1", BODY)
    ours = [(secret.text, headers, BODY) for secret in (newer, SECRET)]
    stranger = (new_secret(SignatureKind.V1).text, headers, BODY)
    answers = npm_accepts([*ours, stranger])
    assert answers == [{"standardwebhooks": True, "svix": True}] * 2 + [{"standardwebhooks": False, "svix": False}]
    assert [python_accepts(*one) for one in (*ours, stranger)] == [True, True, False]


def test_rule_33_every_single_bit_of_id_timestamp_and_body_counts(consumer: WebhookConsumer) -> None:
    headers = signed_headers([SECRET], "evt_1", BODY)
    changed: list[tuple[dict[str, str], bytes]] = []
    for name in ("webhook-id", "webhook-timestamp"):
        for text in flipped(headers[name].encode()):
            changed.append(({**headers, name: text.decode("latin-1")}, BODY))
    changed += [(headers, text) for text in flipped(BODY)]
    assert len(changed) > 600
    assert sdk_accepts(consumer, headers, BODY)
    assert [one for one in changed if python_accepts(SECRET.text, *one)] == []
    assert [one for one in changed if sdk_accepts(consumer, *one)] == []
    sent = [(SECRET.text, given, body) for given, body in changed if readable(body)]
    assert len(sent) > 400
    assert [one for one in npm_accepts(sent) if one["standardwebhooks"] or one["svix"]] == []


def flipped(text: bytes) -> list[bytes]:
    """The text with each of its bits turned over."""
    return [
        bytes([*text[:place], text[place] ^ (1 << bit), *text[place + 1 :]])
        for place in range(len(text))
        for bit in range(8)
    ]


def readable(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("off", [-OFF, OFF], ids=["old", "from the future"])
def test_rule_33_timestamps_are_refused_both_ways(off: timedelta, consumer: WebhookConsumer) -> None:
    headers = signed_headers([SECRET], "evt_1", BODY, now=datetime.now(UTC) + off)
    assert not python_accepts(SECRET.text, headers, BODY)
    assert not sdk_accepts(consumer, headers, BODY)
    assert npm_accepts([(SECRET.text, headers, BODY)]) == [{"standardwebhooks": False, "svix": False}]
    near = signed_headers([SECRET], "evt_1", BODY, now=datetime.now(UTC) + off * (280 / 310))
    assert python_accepts(SECRET.text, near, BODY)


def test_ed25519_signatures_verify_with_the_public_key_alone() -> None:
    pair = new_secret(SignatureKind.V1A)
    headers = signed_headers([pair], "evt_1", BODY)
    version, _, signature = headers["webhook-signature"].partition(",")
    assert version == "v1a" and pair.public_key is not None
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(pair.public_key.removeprefix("whpk_")))
    content = f"evt_1.{headers['webhook-timestamp']}.".encode() + BODY
    public.verify(base64.b64decode(signature), content)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(signature), content + b" ")


def test_secrets_are_sealed_to_their_endpoint_and_expire(tmp_path: Path) -> None:
    sealer = SecretSealer(CustodianWrapper(FileCustodian(tmp_path / "keys.json")))
    now = datetime.now(UTC)
    old = sealer.seal(SECRET, "we_1")
    assert SECRET.text not in json.dumps(old) and sealer.open(old, "we_1") == SECRET
    with pytest.raises(Exception):  # noqa: B017 - whatever the cipher calls it
        sealer.open(old, "we_2")
    overlapping: list[dict[str, Any]] = expiring([old], now + timedelta(seconds=60))
    assert sealer.open_current(overlapping, "we_1", now) == [SECRET]
    assert unexpired(overlapping, now + timedelta(seconds=61)) == []
    # A second rotation never lengthens what the first one ended.
    assert expiring(overlapping, now + timedelta(days=1)) == overlapping
