"""Standard Webhooks: secrets and the headers that sign one request.

`v1` is HMAC-SHA256, `v1a` Ed25519, both over `id.timestamp.body`. While secrets overlap in a rotation
there is one signature a secret, separated by spaces. Source: the Standard Webhooks specification 1.0.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

SECRET_BYTES = 32
HMAC_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"


class SignatureKind(StrEnum):
    """V1: a secret shared with the endpoint. V1A: we sign, and the endpoint holds the public half only."""

    V1 = "v1"
    V1A = "v1a"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecret:
    """One secret of an endpoint: `whsec_…` (V1) or `whsk_…` (V1A, 32 bytes of private key)."""

    kind: SignatureKind
    text: str = field(repr=False)

    def sign(self, message_id: str, timestamp: datetime, body: bytes) -> str:
        """Return `v1,<base64>` or `v1a,<base64>`. `timestamp` in UTC."""
        if self.kind is SignatureKind.V1:
            return Webhook(self.text).sign(message_id, timestamp, body.decode())
        content = f"{message_id}.{int(timestamp.timestamp())}.".encode() + body
        return f"v1a,{base64.b64encode(self._private_key().sign(content)).decode()}"

    @property
    def public_key(self) -> str | None:
        """What the endpoint may know of a V1A secret: `whpk_…`."""
        if self.kind is SignatureKind.V1:
            return None
        return PUBLIC_PREFIX + base64.b64encode(self._private_key().public_key().public_bytes_raw()).decode()

    def _private_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.text.removeprefix(PRIVATE_PREFIX)))


def new_secret(kind: SignatureKind) -> SigningSecret:
    """Return a fresh secret of 32 random bytes."""
    prefix = HMAC_PREFIX if kind is SignatureKind.V1 else PRIVATE_PREFIX
    return SigningSecret(kind=kind, text=prefix + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode())


def signed_headers(
    signing: Sequence[SigningSecret], message_id: str, body: bytes, *, now: datetime | None = None
) -> dict[str, str]:
    """Return the three headers of a request; every attempt has a timestamp and signatures of its own."""
    assert signing, "an endpoint always has a secret"
    timestamp = (now or datetime.now(UTC)).replace(microsecond=0)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(timestamp.timestamp())),
        "webhook-signature": " ".join(secret.sign(message_id, timestamp, body) for secret in signing),
    }
