"""Encryption of everything Temporal stores: its history holds ciphertext, the workers hold the keys.

Decides cipher, key choice and the shape of an encrypted payload. Search attributes are not encrypted
(the server indexes them) and so never hold personal data; summaries are payloads and are encrypted.
"""

import base64
import dataclasses
import functools
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import (
    PydanticJSONPlainPayloadConverter,
    PydanticPayloadConverter,
    pydantic_data_converter,
)
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from vault.key_file import KeyFileError, create_key_file, read_key_file, replace_key_file

ENCODING = b"binary/encrypted"
KEY_ID_FIELD = "encryption-key-id"
NONCE_BYTES = 12
KEY_BYTES = 32


class PayloadUnreadableError(Exception):
    """A payload is under a key not held here, or was changed. Retryable once the key is back."""


class EncryptionCodec(PayloadCodec):
    """AES-256-GCM over whole payloads: `data` is a 96-bit random nonce, ciphertext and tag.

    One key writes, every key held reads, so that keys rotate without touching history. The key id is
    in the metadata and authenticated. Payloads that are not encrypted pass through decode: runs begun
    before encryption stay readable. Runs inline: a payload of a few KB takes some microseconds, less
    than handing it to a thread.
    """

    def __init__(self, keys: Mapping[str, bytes], *, writing_key_id: str) -> None:
        assert writing_key_id in keys and all(len(key) == KEY_BYTES for key in keys.values())
        self._ciphers = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        self._writing_key_id = writing_key_id.encode()

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads encrypted, metadata included."""
        key_id = self._writing_key_id
        cipher = self._ciphers[key_id]
        encrypted = []
        for payload in payloads:
            nonce = secrets.token_bytes(NONCE_BYTES)
            sealed = cipher.encrypt(nonce, payload.SerializeToString(), _associated(key_id))
            metadata = {"encoding": ENCODING, KEY_ID_FIELD: key_id}
            encrypted.append(Payload(metadata=metadata, data=nonce + sealed))
        return encrypted

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads as they were before `encode`.

        Raises:
            PayloadUnreadableError: unknown key id, or a changed payload.
        """
        return [self._decode(payload) for payload in payloads]

    def _decode(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = payload.metadata.get(KEY_ID_FIELD, b"")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise PayloadUnreadableError(f"no key {key_id.decode(errors='replace')!r} is held here")
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, _associated(key_id)))
        except (InvalidTag, ValueError):
            raise PayloadUnreadableError("a payload was changed after it was encrypted") from None


def open_codec(path: Path) -> EncryptionCodec:
    """Return the codec of a key file (mode 0600), creating it with one fresh key if there is none.

    The file: `{"writing": id, "keys": {id: base64 of 32 bytes}}`. Every process that starts or runs
    workflows of one namespace needs the same file.

    Raises:
        KeyFileError: the file is damaged or readable by others. Not retryable.
    """
    if not path.exists():
        key_id, key = _new_key()
        create_key_file(path, {"writing": key_id, "keys": {key_id: key}})
    content = read_key_file(path)
    try:
        keys = {str(key_id): base64.b64decode(key, validate=True) for key_id, key in content["keys"].items()}
        writing = str(content["writing"])
    except (KeyError, AttributeError, TypeError, ValueError):
        raise KeyFileError(f"{path} is not a file of codec keys") from None
    if writing not in keys or any(len(key) != KEY_BYTES for key in keys.values()):
        raise KeyFileError(f"{path} is not a file of codec keys")
    return EncryptionCodec(keys, writing_key_id=writing)


def rotate_codec_key(path: Path) -> str:
    """Add a key to the file, make it the one that writes, and return its id; older ones still read.

    Every process must be restarted (or re-open its codec) before payloads under the new key reach it:
    roll the readers first by rotating while they are stopped.
    """
    content = read_key_file(path)
    key_id, key = _new_key()
    replace_key_file(path, {"writing": key_id, "keys": content["keys"] | {key_id: key}})
    return key_id


class SharedPayloadConverter(PydanticPayloadConverter):
    """The pydantic converter with one set of type adapters for the process.

    A worker makes a converter per workflow run, and the library's own caches per converter: every charge
    would build the validators of its messages anew, about 5 ms of CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        for converter in self.converters.values():
            if isinstance(converter, PydanticJSONPlainPayloadConverter):
                converter._type_adapter = _shared_type_adapter


_shared_type_adapter: "functools._lru_cache_wrapper[TypeAdapter[Any]]" = functools.lru_cache(maxsize=1024)(TypeAdapter)


def data_converter(codec: PayloadCodec) -> DataConverter:
    """Return the one data converter of clients, workers and replayers.

    Pydantic, because the default one turns 100.5 into 100 for an int field; encrypted, failures too,
    because their messages and stack traces quote what they failed on.
    """
    return dataclasses.replace(
        pydantic_data_converter,
        payload_converter_class=SharedPayloadConverter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def _associated(key_id: bytes) -> bytes:
    return ENCODING + b"\0" + key_id


def _new_key() -> tuple[str, str]:
    return f"pck_{secrets.token_hex(8)}", base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
