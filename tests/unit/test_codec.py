"""Encryption of Temporal payloads and the endpoint that shows them to the UI."""

import base64
import stat
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.exceptions import ApplicationError

from activities.codec import (
    EncryptionCodec,
    PayloadUnreadableError,
    SharedPayloadConverter,
    data_converter,
    open_codec,
    rotate_codec_key,
)
from api.codec import codec_router
from vault.key_file import KeyFileError

KEY_A, KEY_B = bytes(range(32)), bytes(range(1, 33))
UI = "http://127.0.0.1:8233"


@dataclass(frozen=True)
class Order:
    amount_minor: int
    note: str


@pytest.fixture
def codec() -> EncryptionCodec:
    return EncryptionCodec({"a": KEY_A}, writing_key_id="a")


def plain(content: bytes = b'{"amount_minor": 8420}') -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=content)


async def test_round_trip_hides_content_and_encoding(codec: EncryptionCodec) -> None:
    encrypted = await codec.encode([plain(), plain(b"")])
    assert [payload.metadata["encoding"] for payload in encrypted] == [b"binary/encrypted"] * 2
    assert encrypted[0].metadata["encryption-key-id"] == b"a"
    assert b"8420" not in encrypted[0].SerializeToString() and b"json" not in encrypted[0].SerializeToString()
    assert await codec.decode(encrypted) == [plain(), plain(b"")]


async def test_the_same_payload_is_never_encrypted_to_the_same_bytes(codec: EncryptionCodec) -> None:
    encrypted = await codec.encode([plain()] * 50)
    assert len({payload.data[:12] for payload in encrypted}) == 50
    assert len({payload.data for payload in encrypted}) == 50


async def test_every_changed_bit_is_refused(codec: EncryptionCodec) -> None:
    [payload] = await codec.encode([plain()])
    for bit in range(len(payload.data) * 8):
        changed = bytearray(payload.data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PayloadUnreadableError):
            await codec.decode([Payload(metadata=payload.metadata, data=bytes(changed))])
    for cut in (0, 5, 12, 27, len(payload.data) - 1):
        with pytest.raises(PayloadUnreadableError):
            await codec.decode([Payload(metadata=payload.metadata, data=payload.data[:cut])])


async def test_an_unknown_key_and_a_relabelled_key_are_refused(codec: EncryptionCodec) -> None:
    other = EncryptionCodec({"b": KEY_B}, writing_key_id="b")
    with pytest.raises(PayloadUnreadableError, match="'b'"):
        await codec.decode(await other.encode([plain()]))
    twin = EncryptionCodec({"a": KEY_A, "twin": KEY_A}, writing_key_id="twin")
    [payload] = await twin.encode([plain()])
    payload.metadata["encryption-key-id"] = b"a"
    with pytest.raises(PayloadUnreadableError):
        await codec.decode([payload])


async def test_after_rotation_the_new_key_writes_and_both_read(codec: EncryptionCodec) -> None:
    rotated = EncryptionCodec({"a": KEY_A, "b": KEY_B}, writing_key_id="b")
    before, after = await codec.encode([plain()]), await rotated.encode([plain()])
    assert after[0].metadata["encryption-key-id"] == b"b"
    assert await rotated.decode(before + after) == [plain(), plain()]


async def test_payloads_from_before_encryption_still_read(codec: EncryptionCodec) -> None:
    assert await codec.decode([plain()]) == [plain()]


async def test_converter_is_pydantic_and_encrypted(codec: EncryptionCodec) -> None:
    converter = data_converter(codec)
    order = Order(amount_minor=8420, note="for ord_7741")
    encoded = await converter.encode([order])
    assert b"ord_7741" not in encoded[0].SerializeToString()
    assert await converter.decode(encoded, [Order]) == [order]
    [fractional] = await converter.encode([{"amount_minor": 100.5, "note": ""}])
    with pytest.raises(Exception, match="amount_minor"):
        await converter.decode([fractional], [Order])


async def test_failures_do_not_show_their_message(codec: EncryptionCodec) -> None:
    converter, failure = data_converter(codec), Failure()
    await converter.encode_failure(ApplicationError("refused ord_7741"), failure)
    assert b"ord_7741" not in failure.SerializeToString()
    assert str(await converter.decode_failure(failure)) == "refused ord_7741"


async def test_the_key_file_is_private_shared_and_rotates(tmp_path: Path) -> None:
    path = tmp_path / "codec.key"
    first = open_codec(path)
    encrypted = await first.encode([plain()])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    new_key_id = rotate_codec_key(path)
    reopened = open_codec(path)
    assert await reopened.decode(encrypted) == [plain()]
    assert (await reopened.encode([plain()]))[0].metadata["encryption-key-id"] == new_key_id.encode()
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        open_codec(path)


def client(codec: EncryptionCodec, *, loopback_suffices: bool, host: str = "127.0.0.1") -> httpx.AsyncClient:
    async def authorize(request: Request) -> bool:
        return request.headers.get("authorization") == "Bearer ak_admin"

    app = FastAPI()
    app.include_router(codec_router(codec, authorize, allowed_origins=[UI], loopback_suffices=loopback_suffices))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, client=(host, 1)), base_url="http://api")


async def remote(codec: EncryptionCodec) -> dict[str, object]:
    [payload] = await codec.encode([plain()])
    metadata = {name: base64.b64encode(value).decode() for name, value in payload.metadata.items()}
    return {"payloads": [{"metadata": metadata, "data": base64.b64encode(payload.data).decode()}]}


async def test_endpoint_decodes_for_the_admin_and_encodes_back(codec: EncryptionCodec) -> None:
    async with client(codec, loopback_suffices=False) as http:
        admin = {"Authorization": "Bearer ak_admin", "Origin": UI, "X-Namespace": "default"}
        decoded = await http.post("/codec/decode", json=await remote(codec), headers=admin)
        assert decoded.status_code == 200
        [payload] = decoded.json()["payloads"]
        assert base64.b64decode(payload["data"]) == plain().data
        assert base64.b64decode(payload["metadata"]["encoding"]) == b"json/plain"
        assert decoded.headers["access-control-allow-origin"] == UI
        encoded = await http.post("/codec/encode", json=decoded.json(), headers=admin)
        assert base64.b64decode(encoded.json()["payloads"][0]["metadata"]["encoding"]) == b"binary/encrypted"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer ak_wrong"}, {"Origin": UI}])
async def test_endpoint_refuses_everyone_else(codec: EncryptionCodec, headers: dict[str, str]) -> None:
    async with client(codec, loopback_suffices=False) as http:
        refused = await http.post("/codec/decode", json=await remote(codec), headers=headers)
        assert refused.status_code == 403 and "payloads" not in refused.json()


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1", UI, 200),
        ("::1", UI, 200),
        ("127.0.0.1", "http://evil.example", 403),
        ("127.0.0.1", None, 403),
        ("10.0.0.9", UI, 403),
    ],
)
async def test_in_the_sandbox_the_ui_of_this_machine_suffices(
    codec: EncryptionCodec, host: str, origin: str | None, status: int
) -> None:
    async with client(codec, loopback_suffices=True, host=host) as http:
        headers = {"Origin": origin} if origin else {}
        assert (await http.post("/codec/decode", json=await remote(codec), headers=headers)).status_code == status


async def test_preflight_answers_the_allowed_origin_only(codec: EncryptionCodec) -> None:
    async with client(codec, loopback_suffices=True) as http:
        allowed = await http.options("/codec/decode", headers={"Origin": UI, "Access-Control-Request-Method": "POST"})
        assert allowed.headers["access-control-allow-credentials"] == "true"
        assert "x-namespace" in allowed.headers["access-control-allow-headers"]
        refused = await http.options("/codec/decode", headers={"Origin": "http://evil.example"})
        assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"payloads": 3}', b'{"payloads": [{"data": 1}]}', b"[" * 5000])
async def test_endpoint_refuses_nonsense(codec: EncryptionCodec, body: bytes) -> None:
    async with client(codec, loopback_suffices=False) as http:
        answer = await http.post("/codec/decode", content=body, headers={"Authorization": "Bearer ak_admin"})
        assert answer.status_code == 400


async def test_a_tampered_payload_is_a_400_without_details(codec: EncryptionCodec) -> None:
    other = EncryptionCodec({"secret-key-name": KEY_B}, writing_key_id="secret-key-name")
    async with client(codec, loopback_suffices=False) as http:
        admin = {"Authorization": "Bearer ak_admin"}
        answer = await http.post("/codec/decode", json=await remote(other), headers=admin)
        assert answer.status_code == 400 and "secret-key-name" not in answer.text


async def test_a_wildcard_origin_is_refused(codec: EncryptionCodec) -> None:
    async def nobody(request: Request) -> bool:
        return False

    with pytest.raises(AssertionError):
        codec_router(codec, nobody, allowed_origins=["*"])


def test_every_run_shares_the_type_adapters_of_the_process() -> None:
    """A worker makes a converter per run; building validators anew for each cost 5 ms of CPU a charge."""
    adapters = {
        id(converter._type_adapter)
        for _ in range(3)
        for converter in SharedPayloadConverter().converters.values()
        if isinstance(converter, PydanticJSONPlainPayloadConverter)
    }
    assert len(adapters) == 1
