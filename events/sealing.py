"""Signing secrets at rest: each under a data key of its own, that key wrapped by a custodian's.

Envelope encryption as in the vault: whoever has the database has nothing. Bound to the endpoint, so a
sealed secret moved to another endpoint does not open. Decides nothing about where wrapping keys live.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.timestamps import rfc3339
from events.signing import SignatureKind, SigningSecret

NONCE_BYTES = 12
DATA_KEY_BYTES = 32


class KeyWrapper(Protocol):
    """Wraps 32-byte data keys under keys that never leave it."""

    def wrap_key(self, data_key: bytes) -> tuple[bytes, str]:
        """Return the wrapped key and the id of the key that wrapped it."""
        ...

    def unwrap_key(self, wrapped: bytes, wrapping_key_id: str) -> bytes:
        """Return the data key."""
        ...


@dataclass(frozen=True, slots=True)
class SecretSealer:
    """Seals and opens the secrets of endpoints; a sealed one is a JSON object of text."""

    wrapper: KeyWrapper

    def seal(self, secret: SigningSecret, endpoint_id: str, *, expires_at: datetime | None = None) -> dict[str, Any]:
        """Return the secret as it may be stored; after `expires_at` it does not sign any more."""
        data_key, nonce = secrets.token_bytes(DATA_KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
        wrapped, wrapping_key_id = self.wrapper.wrap_key(data_key)
        ciphertext = AESGCM(data_key).encrypt(nonce, secret.text.encode(), _bound(endpoint_id, secret.kind))
        return {
            "kind": secret.kind.value,
            "wrapped_key": base64.b64encode(wrapped).decode(),
            "wrapping_key_id": wrapping_key_id,
            "nonce": base64.b64encode(nonce).decode(),
            "ciphertext": base64.b64encode(ciphertext).decode(),
            "expires_at": rfc3339(expires_at),
        }

    def open(self, sealed: dict[str, Any], endpoint_id: str) -> SigningSecret:
        """Return a sealed secret.

        Raises:
            cryptography.exceptions.InvalidTag: it was changed, or belongs to another endpoint. Not retryable.
        """
        kind = SignatureKind(sealed["kind"])
        key = self.wrapper.unwrap_key(base64.b64decode(sealed["wrapped_key"]), sealed["wrapping_key_id"])
        nonce, ciphertext = base64.b64decode(sealed["nonce"]), base64.b64decode(sealed["ciphertext"])
        return SigningSecret(kind=kind, text=AESGCM(key).decrypt(nonce, ciphertext, _bound(endpoint_id, kind)).decode())

    def open_current(self, sealed: Sequence[dict[str, Any]], endpoint_id: str, now: datetime) -> list[SigningSecret]:
        """Return the secrets that sign now: those that have not expired, newest first."""
        return [self.open(one, endpoint_id) for one in unexpired(sealed, now)]


def unexpired(sealed: Sequence[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Return the sealed secrets that still sign at `now`, in their order."""
    return [one for one in sealed if one["expires_at"] is None or datetime.fromisoformat(one["expires_at"]) > now]


def expiring(sealed: Sequence[dict[str, Any]], at: datetime) -> list[dict[str, Any]]:
    """Return the sealed secrets with an end at `at`, or at their own if that comes first."""
    shortened = []
    for one in sealed:
        own = datetime.fromisoformat(one["expires_at"]) if one["expires_at"] is not None else at
        shortened.append({**one, "expires_at": rfc3339(min(own, at))})
    return shortened


def _bound(endpoint_id: str, kind: SignatureKind) -> bytes:
    return f"ledgerline webhook secret\0{endpoint_id}\0{kind.value}".encode()
