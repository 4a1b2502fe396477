"""Who is calling: Bearer keys to principals, looked up by SHA-256 and remembered for a short while.

Keys are 256 random bits, so a plain hash is enough and no comparison leaks anything. A revoked key
is refused at the latest when its cache entry has aged out.
"""

import asyncio
import hashlib
import re
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.errors import Problem
from api.reading import EVERYTHING, Reads, ReadScope, Statement
from domain.identifiers import Mode

KEY_SHAPE = re.compile(r"^(sk_test|sk_live|ak)_[A-Za-z0-9_-]{16,128}$")
CACHE_ENTRIES_MAX = 10_000

_bearer = HTTPBearer(auto_error=False, description="`sk_test_…`, `sk_live_…` or, for administration, `ak_…`.")
_LOOKUP = "SELECT id, merchant_id, mode, kind FROM api_keys WHERE key_hash = %(key_hash)s AND revoked_at IS NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a key stands for. Admin keys belong to no merchant and no mode."""

    key_id: str
    merchant_id: str | None
    mode: Mode | None
    admin: bool

    @property
    def scope(self) -> ReadScope:
        """What this principal may see."""
        return ReadScope(merchant_id=self.merchant_id, mode=self.mode, admin=self.admin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    """A merchant in one mode: who may move money. `actor` is how the audit log names the key."""

    merchant_id: str
    mode: Mode
    actor: str

    @property
    def scope(self) -> ReadScope:
        """What this merchant may see."""
        return ReadScope(merchant_id=self.merchant_id, mode=self.mode)


def hash_key(key: str) -> bytes:
    """Return the SHA-256 of a whole API key: the only form of it that is stored."""
    return hashlib.sha256(key.encode()).digest()


class KeyDirectory:
    """Principals by key hash, at most `cache_seconds` old."""

    def __init__(self, reads: Reads, cache_seconds: float) -> None:
        self._reads = reads
        self._cache_seconds = cache_seconds
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._lookup = asyncio.Lock()

    async def find(self, key: str) -> Principal | None:
        """Return the principal of a key, or None for a key that is unknown, revoked or misshapen."""
        if KEY_SHAPE.fullmatch(key) is None:
            return None
        digest = hash_key(key)
        known = self._fresh(digest)
        if known is not None:
            return known
        # One look-up for a burst of requests with the same new key.
        async with self._lookup:
            return self._fresh(digest) or await self._read(digest)

    def _fresh(self, digest: bytes) -> Principal | None:
        entry = self._known.get(digest)
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    async def _read(self, digest: bytes) -> Principal | None:
        row = await self._reads.first(EVERYTHING, Statement(_LOOKUP, {"key_hash": digest}))
        if row is None:
            self._known.pop(digest, None)
            return None
        admin = row["kind"] == "admin"
        principal = Principal(
            key_id=row["id"],
            merchant_id=None if admin else row["merchant_id"],
            mode=None if admin else Mode(row["mode"]),
            admin=admin,
        )
        if len(self._known) >= CACHE_ENTRIES_MAX:
            self._known.clear()
        self._known[digest] = (time.monotonic() + self._cache_seconds, principal)
        return principal


def _unauthenticated(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": 'Bearer realm="ledgerline"'})


async def require_key(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Principal:
    """Return who is calling; also leaves it on `request.state.principal` for mounted routers.

    Raises:
        Problem: 401, the key is missing, unknown or revoked. Not retryable.
    """
    if credentials is None:
        raise _unauthenticated("api_key_required", "Send your API key as `Authorization: Bearer sk_test_…`.")
    directory: KeyDirectory = request.app.state.core.keys
    principal = await directory.find(credentials.credentials)
    if principal is None:
        raise _unauthenticated("api_key_invalid", "This API key is unknown or has been revoked.")
    request.state.principal = principal
    return principal


Caller = Annotated[Principal, Depends(require_key)]


async def require_merchant(principal: Caller) -> Merchant:
    """Return the calling merchant.

    Raises:
        Problem: 403, an admin key belongs to no merchant. Not retryable.
    """
    if principal.merchant_id is None or principal.mode is None:
        raise Problem(403, "merchant_key_required", "This needs a merchant's key; an admin key belongs to no merchant.")
    return Merchant(merchant_id=principal.merchant_id, mode=principal.mode, actor=f"api_key:{principal.key_id}")


async def require_admin(principal: Caller) -> Principal:
    """Return the calling administrator.

    Raises:
        Problem: 403, a merchant's key was sent. Not retryable.
    """
    if not principal.admin:
        raise Problem(403, "admin_key_required", "This needs an admin key (`ak_…`).")
    return principal


MerchantCaller = Annotated[Merchant, Depends(require_merchant)]
AdminCaller = Annotated[Principal, Depends(require_admin)]
