"""Merchants and API keys: made, listed and revoked over a connection, by routes, CLI and seeding alike.

A key is shown once, when it is made; only its SHA-256 is stored.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from api.authentication import hash_key
from domain.identifiers import Mode, encode_base32, new_identifier
from domain.timestamps import rfc3339

_AS_ADMIN = text("SELECT set_config('ledgerline.admin', 'on', true)")
_ADD_MERCHANT = text(
    "INSERT INTO merchants (id, name) VALUES (:id, :name) ON CONFLICT (id) DO NOTHING RETURNING created_at"
)
_GET_MERCHANT = text("SELECT id, name, created_at FROM merchants WHERE id = :id")
_ADD_KEY = text(
    "INSERT INTO api_keys (id, merchant_id, mode, kind, key_hash, last4)"
    " VALUES (:id, :merchant_id, :mode, :kind, :key_hash, :last4) ON CONFLICT (id) DO NOTHING RETURNING created_at"
)
_KEY_COLUMNS = "id, merchant_id, mode, kind, last4, created_at, revoked_at"
_GET_KEY = text(f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE id = :id")
_LIST_KEYS = text(
    f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE (CAST(:merchant_id AS text) IS NULL OR merchant_id = :merchant_id)"
    " ORDER BY id"
)
_REVOKE = text("UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = :id AND revoked_at IS NULL")


class KeyKind(StrEnum):
    """`secret` keys belong to a merchant in one mode, `admin` keys to whoever runs the installation."""

    SECRET = "secret"  # noqa: S105  (a kind, not a secret)
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantRow:
    """A merchant as stored. `created` tells whether this call made it."""

    id: str
    name: str
    created_at: datetime
    created: bool = False

    def document(self) -> dict[str, object]:
        """Return the merchant as the API shows it."""
        return {"id": self.id, "object": "merchant", "name": self.name, "created_at": rfc3339(self.created_at)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as stored. `secret` is the key itself, only in the answer of the call that made it."""

    id: str
    merchant_id: str | None
    mode: str
    kind: str
    last4: str
    created_at: datetime
    revoked_at: datetime | None = None
    secret: str | None = None

    def document(self) -> dict[str, object]:
        """Return the key as the API shows it."""
        shown: dict[str, object] = {
            "id": self.id,
            "object": "api_key",
            "status": "revoked" if self.revoked_at else "active",
            "merchant": self.merchant_id,
            "mode": self.mode if self.kind == KeyKind.SECRET else None,
            "kind": self.kind,
            "last4": self.last4,
            "created_at": rfc3339(self.created_at),
            "revoked_at": rfc3339(self.revoked_at),
        }
        return {**shown, "secret": self.secret} if self.secret is not None else shown


def derived_identifier(prefix: str, *parts: str) -> str:
    """Return an id that the same parts always give: how a repeated request finds what it made."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return f"{prefix}_{encode_base32(int.from_bytes(digest[:16], 'big'), 26)}"


async def create_merchant(connection: AsyncConnection, *, name: str, merchant_id: str | None = None) -> MerchantRow:
    """Add a merchant; return the one that is there if the id is taken. Idempotent on `merchant_id`.

    The connection is in a transaction that the caller commits.
    """
    merchant_id = merchant_id or new_identifier("mer")
    await connection.execute(_AS_ADMIN)
    added = (await connection.execute(_ADD_MERCHANT, {"id": merchant_id, "name": name})).first()
    row = (await connection.execute(_GET_MERCHANT, {"id": merchant_id})).one()
    return MerchantRow(id=row.id, name=row.name, created_at=row.created_at, created=added is not None)


async def find_merchant(connection: AsyncConnection, merchant_id: str) -> MerchantRow | None:
    """Return a merchant, or None."""
    await connection.execute(_AS_ADMIN)
    row = (await connection.execute(_GET_MERCHANT, {"id": merchant_id})).first()
    return MerchantRow(id=row.id, name=row.name, created_at=row.created_at) if row else None


async def create_api_key(
    connection: AsyncConnection,
    *,
    merchant_id: str | None,
    mode: Mode = Mode.TEST,
    key_id: str | None = None,
    secret: str | None = None,
) -> ApiKey:
    """Add a key for a merchant and mode, or an admin key when `merchant_id` is None.

    Idempotent on `key_id`: a repeat returns the key without its secret. `secret` is only given to
    seed a known key. The connection is in a transaction that the caller commits.
    """
    kind = KeyKind.ADMIN if merchant_id is None else KeyKind.SECRET
    prefix = "ak" if merchant_id is None else f"sk_{mode.value}"
    secret = secret or f"{prefix}_{secrets.token_urlsafe(32)}"
    assert secret.startswith(f"{prefix}_"), f"this key begins with {prefix}_"
    key_id = key_id or new_identifier("key")
    await connection.execute(_AS_ADMIN)
    terms = {
        "id": key_id,
        "merchant_id": merchant_id,
        "mode": mode.value,
        "kind": kind.value,
        "key_hash": hash_key(secret),
        "last4": secret[-4:],
    }
    added = (await connection.execute(_ADD_KEY, terms)).first()
    row = (await connection.execute(_GET_KEY, {"id": key_id})).one()
    return ApiKey(**row._mapping, secret=secret if added is not None else None)


async def list_api_keys(connection: AsyncConnection, *, merchant_id: str | None = None) -> list[ApiKey]:
    """Return all keys, or one merchant's, oldest first."""
    await connection.execute(_AS_ADMIN)
    rows = await connection.execute(_LIST_KEYS, {"merchant_id": merchant_id})
    return [ApiKey(**row._mapping) for row in rows]


async def revoke_api_key(connection: AsyncConnection, key_id: str) -> ApiKey | None:
    """Revoke a key and return it; None for an unknown one. Idempotent.

    Honoured everywhere once caches of authentication have aged out.
    """
    await connection.execute(_AS_ADMIN)
    await connection.execute(_REVOKE, {"id": key_id})
    row = (await connection.execute(_GET_KEY, {"id": key_id})).first()
    return ApiKey(**row._mapping) if row else None
