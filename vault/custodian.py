"""Who holds the keys that wrap the vault's data keys.

`FileCustodian` keeps them in a file of mode 0600 beside the database: enough to keep card numbers out
of database dumps and backups, NOT enough against whoever can read the application's own disk. A
PKCS#11 custodian (SoftHSM, an HSM) implements the same protocol; AES key wrap there is the same
RFC 3394, so data keys can move by re-wrapping. It does not exist yet.
"""

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from vault.key_file import KeyFileError, create_key_file, read_key_file, replace_key_file

KEY_BYTES = 32


class CustodyError(Exception):
    """A data key cannot be unwrapped: wrong or lost wrapping key, or damaged bytes. Not retryable."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it may be stored: AES-wrapped, with the id of the key that wrapped it."""

    wrapped: bytes
    wrapping_key_id: str


class KeyCustodian(Protocol):
    """Wraps and unwraps 32-byte data keys; the wrapping keys never leave it."""

    @property
    def current_key_id(self) -> str:
        """The id of the wrapping key new data keys are wrapped with."""
        ...

    def wrap(self, data_key: bytes) -> WrappedKey:
        """Wrap a 32-byte data key with the current wrapping key."""
        ...

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Return the data key.

        Raises:
            CustodyError: the wrapping key is not held here, or the bytes are damaged. Not retryable.
        """
        ...


class FileCustodian:
    """Wrapping keys in one JSON file: `{"current": id, "keys": {id: base64 of 32 bytes}}`."""

    def __init__(self, path: Path) -> None:
        """Open the key file, creating it with one fresh key if there is none.

        Raises:
            KeyFileError: the file is damaged or readable by others. Not retryable.
        """
        self._path = path
        if not path.exists():
            key_id, key = _new_key()
            create_key_file(path, {"current": key_id, "keys": {key_id: key}})
        self._load()

    @property
    def current_key_id(self) -> str:
        """The id of the wrapping key new data keys are wrapped with."""
        return self._current

    def wrap(self, data_key: bytes) -> WrappedKey:
        """Wrap a 32-byte data key with the current wrapping key (RFC 3394)."""
        assert len(data_key) == KEY_BYTES
        if self._path.stat().st_mtime_ns != self._read_at:
            # Rotated by another process: its older key may be about to be retired.
            self._load()
        return WrappedKey(aes_key_wrap(self._keys[self._current], data_key), self._current)

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Return the data key; RFC 3394 detects any change of the wrapped bytes.

        Raises:
            CustodyError: the wrapping key is not held here, or the bytes are damaged. Not retryable.
        """
        if wrapped.wrapping_key_id not in self._keys:
            # Another process may have rotated since this one read the file.
            self._load()
        key = self._keys.get(wrapped.wrapping_key_id)
        if key is None:
            raise CustodyError(f"wrapping key {wrapped.wrapping_key_id} is not held here")
        try:
            return aes_key_unwrap(key, wrapped.wrapped)
        except (InvalidUnwrap, ValueError):
            raise CustodyError(f"a data key does not unwrap under {wrapped.wrapping_key_id}") from None

    def rotate(self) -> str:
        """Add a wrapping key, make it the current one and return its id; older ones still unwrap.

        Run `Vault.rewrap_data_keys` next, until it changes nothing, then `retire` the older one.
        """
        self._load()
        key_id, key = _new_key()
        keys = {held: base64.b64encode(value).decode() for held, value in self._keys.items()} | {key_id: key}
        replace_key_file(self._path, {"current": key_id, "keys": keys})
        self._load()
        return key_id

    def retire(self, key_id: str) -> None:
        """Forget a wrapping key for ever. Whatever is still wrapped with it is lost.

        Raises:
            CustodyError: it is the current one, or not held here. Not retryable.
        """
        self._load()
        if key_id == self._current or key_id not in self._keys:
            raise CustodyError(f"{key_id} is the current wrapping key or not held here")
        keys = {held: base64.b64encode(value).decode() for held, value in self._keys.items() if held != key_id}
        replace_key_file(self._path, {"current": self._current, "keys": keys})
        self._load()

    def _load(self) -> None:
        read_at = self._path.stat().st_mtime_ns if self._path.exists() else 0
        content = read_key_file(self._path)
        try:
            keys = {str(key_id): base64.b64decode(key, validate=True) for key_id, key in content["keys"].items()}
            current = str(content["current"])
        except (KeyError, AttributeError, TypeError, ValueError):
            raise KeyFileError(f"{self._path} is not a file of wrapping keys") from None
        if current not in keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise KeyFileError(f"{self._path} is not a file of wrapping keys")
        self._keys, self._current, self._read_at = keys, current, read_at


def _new_key() -> tuple[str, str]:
    return f"kek_{secrets.token_hex(8)}", base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
