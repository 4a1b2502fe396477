"""Signing secrets of webhook endpoints: made, sealed and rotated, under wrapping keys of a key file of their own.

The API asks for them through a protocol of its own and never sees a wrapping key.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.sealing import SecretSealer, expiring, unexpired
from events.signing import SignatureKind, SigningSecret, new_secret
from vault.custodian import FileCustodian, WrappedKey

_SEALED = "SELECT internal -> 'secrets' FROM webhook_endpoints WHERE id = %s AND version = %s"


class CustodianWrapper:
    """A custodian of the vault's kind as `events.sealing` wants it."""

    def __init__(self, custodian: FileCustodian) -> None:
        self._custodian = custodian

    def wrap_key(self, data_key: bytes) -> tuple[bytes, str]:
        """Return the wrapped key and the id of the key that wrapped it."""
        wrapped = self._custodian.wrap(data_key)
        return wrapped.wrapped, wrapped.wrapping_key_id

    def unwrap_key(self, wrapped: bytes, wrapping_key_id: str) -> bytes:
        """Return the data key.

        Raises:
            CustodyError: the wrapping key is not held here. Not retryable.
        """
        return self._custodian.unwrap(WrappedKey(wrapped, wrapping_key_id))


class WebhookSecrets:
    """Implements `api.services.EndpointSecrets`."""

    def __init__(self, pool: "AsyncConnectionPool[AsyncConnection[Any]]", sealer: SecretSealer) -> None:
        self._pool = pool
        self._sealer = sealer

    def issue(self, endpoint_id: str, kinds: Sequence[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """Return what is shown of new secrets, this once, and how they are stored."""
        made = [new_secret(SignatureKind(kind)) for kind in kinds]
        return _shown(made), [self._sealer.seal(secret, endpoint_id) for secret in made]

    async def rotate(
        self, endpoint_id: str, version: int, kinds: Sequence[str], overlap_seconds: int
    ) -> tuple[dict[str, str], list[dict[str, Any]]] | None:
        """Return new secrets as `issue` does, stored before the old ones, which end after the overlap.

        None when the endpoint is not at this version any more.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SEALED, (endpoint_id, version))
            row = await cursor.fetchone()
        if row is None:
            return None
        now = datetime.now(UTC)
        shown, sealed = self.issue(endpoint_id, kinds)
        return shown, sealed + expiring(unexpired(row[0], now), now + timedelta(seconds=overlap_seconds))


def _shown(secrets: Sequence[SigningSecret]) -> dict[str, str]:
    """`secret` is shared with the endpoint; of a key pair only `public_key` is."""
    shown: dict[str, str] = {}
    for secret in secrets:
        if secret.public_key is None:
            shown["secret"] = secret.text
        else:
            shown["public_key"] = secret.public_key
    return shown
