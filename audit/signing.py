"""The key that signs audit records, and how its public half is handed out.

Signing makes an edit by somebody with the database but without the key show; the chain makes a
deletion or re-order show. Neither helps against whoever holds this key file: keep it apart.
"""

import base64
import hashlib
import json
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

ALGORITHM = "Ed25519"


class SigningKeyError(Exception):
    """The signing key file is readable by others or damaged. Not retryable."""


class AuditSigner:
    """Signs content hashes with one Ed25519 key. Deterministic: the same hash gives the same signature."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self._public_key = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = key_id_of(self._public_key)

    @classmethod
    def open(cls, path: Path) -> "AuditSigner":
        """Return the signer of a key file, creating it (mode 0600) if there is none.

        Of several processes starting at once one creates the file and all use it.

        Raises:
            SigningKeyError: the file is readable by others or no key file. Not retryable.
        """
        if not path.exists():
            _create(path)
        if path.stat().st_mode & 0o077:
            raise SigningKeyError(f"{path} can be read by others; run `chmod 600` on it")
        try:
            raw = base64.b64decode(json.loads(path.read_text(encoding="utf-8"))["private_key"], validate=True)
            return cls(Ed25519PrivateKey.from_private_bytes(raw))
        except (ValueError, KeyError, TypeError):
            raise SigningKeyError(f"{path} is not an audit signing key") from None

    def sign(self, content_hash: bytes) -> tuple[str, bytes]:
        """Return the key id and the 64-byte signature over a 32-byte content hash."""
        assert len(content_hash) == 32
        return self.key_id, self._private_key.sign(content_hash)

    def public_key(self) -> dict[str, str]:
        """Return the public key as it is published: `key_id`, `algorithm`, `public_key` (base64, 32 bytes)."""
        return {
            "key_id": self.key_id,
            "algorithm": ALGORITHM,
            "public_key": base64.b64encode(self._public_key).decode(),
        }


def key_id_of(public_key: bytes) -> str:
    """Return the id of a raw 32-byte public key: `aud_` and 16 hex digits of its SHA-256."""
    return f"aud_{hashlib.sha256(public_key).hexdigest()[:16]}"


def _create(path: Path) -> None:
    raw = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"algorithm": ALGORITHM, "private_key": base64.b64encode(raw).decode()}, file)
            file.flush()
            os.fsync(file.fileno())
        # A link refuses to replace: whoever comes second uses the first one's key.
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
