"""Requests go nowhere they should not: private addresses, names that resolve anew, redirects, wrong certificates."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.identifiers import Mode
from events.addresses import GuardedBackend, is_public
from events.sending import RESPONSE_BYTES_READ_MAX, RESPONSE_CHARACTERS_KEPT, Attempt, Sender
from tests.api.conftest import World
from tests.events.receiver import Receiver, Reply

NAME = "hooks.example"
PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "nonsense"),
)
PUBLIC = ("1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "64:ff9b::101:101")


@pytest.mark.parametrize("address", PRIVATE)
def test_rule_33_private_addresses_are_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_known(address: str) -> None:
    assert is_public(address)


async def send(sender: Sender, url: str, body: bytes = b"{}") -> Attempt:
    return await sender.send(url, {"webhook-id": "evt_1"}, body)


async def test_rule_33_live_mode_refuses_private_addresses(receiver: Receiver) -> None:
    async with Sender(Mode.LIVE) as live, Sender(Mode.TEST) as test:
        for host in ("127.0.0.1", "localhost", "[::1]"):
            refused = await send(live, f"http://{host}:{receiver.port}/")
            assert refused.error == "address_not_public" and not refused.succeeded
        assert receiver.received == []
        assert (await send(test, f"http://127.0.0.1:{receiver.port}/")).succeeded


async def test_a_name_is_resolved_once_and_one_private_address_is_enough_to_refuse(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([["1.1.1.1", "127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []

    async def resolve(self: GuardedBackend, host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    monkeypatch.setattr(GuardedBackend, "_resolve", resolve)
    async with Sender(Mode.LIVE) as live, Sender(Mode.TEST) as test:
        assert (await send(live, f"http://{NAME}:{receiver.port}/")).error == "address_not_public"
        assert asked == [NAME] and receiver.received == []
        # The connection goes to the address that was judged, by the name that was asked for.
        assert (await send(test, f"http://{NAME}:{receiver.port}/")).succeeded
        assert asked == [NAME, NAME] and receiver.received[0].headers["host"] == f"{NAME}:{receiver.port}"


async def test_certificates_are_checked_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(self: GuardedBackend, host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(GuardedBackend, "_resolve", resolve)
    certificate = make_certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with (
        Receiver(server) as receiver,
        Sender(Mode.TEST, ssl_context=trusting) as knowing,
        Sender(Mode.TEST) as strange,
    ):
        assert (await send(knowing, f"https://{NAME}:{receiver.port}/")).succeeded
        assert (await send(knowing, f"https://other.example:{receiver.port}/")).error == "tls_failed"
        assert (await send(strange, f"https://{NAME}:{receiver.port}/")).error == "tls_failed"


async def test_answers_are_cut_and_time_is_limited(receiver: Receiver) -> None:
    async with Sender(Mode.TEST, response_seconds_max=0.5) as sender:
        receiver.answer = lambda request: Reply(body=b"\0x" * RESPONSE_BYTES_READ_MAX)
        long = await send(sender, receiver.url)
        assert long.succeeded and long.response is not None and len(long.response) == RESPONSE_CHARACTERS_KEPT
        assert "\0" not in long.response
        receiver.answer = lambda request: Reply(delay_seconds=5)
        hung = await send(sender, receiver.url)
        assert hung.error == "timeout" and 400 <= hung.duration_ms < 3_000
        receiver.answer = lambda request: Reply(0)
        assert (await send(sender, receiver.url)).error == "connection_broken"
        assert (await send(sender, receiver.url, b"x" * 2_000_000)).error == "payload_too_large"
        moved = Reply(307, {"location": receiver.url})
        receiver.answer = lambda request: moved
        before = len(receiver.received)
        redirected = await send(sender, receiver.url)
        assert redirected.response_status == 307 and not redirected.succeeded and len(receiver.received) == before + 1
    async with Receiver() as closed:
        nobody = closed.url
    async with Sender(Mode.TEST) as sender:
        assert (await send(sender, nobody)).error == "connection_failed"


async def test_live_endpoints_are_public_and_use_tls(world: World) -> None:
    live, test = await world.shop(mode=Mode.LIVE), await world.shop()
    for url in (
        "http://shop.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "ftp://x.example",
    ):
        refused = await live.post("/webhook_endpoints", {"url": url})
        assert (refused.status_code, refused.json()["code"]) == (422, "url_invalid"), url
    for url in ("https://user:password@shop.example/", "https://shop.example/#there", "nonsense", "https://a b/"):
        assert (await test.post("/webhook_endpoints", {"url": url})).status_code == 422
    assert (await live.post("/webhook_endpoints", {"url": "https://shop.example/hooks"})).status_code == 201
    assert (await test.post("/webhook_endpoints", {"url": "http://127.0.0.1:3000/hooks"})).status_code == 201


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for NAME with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path
