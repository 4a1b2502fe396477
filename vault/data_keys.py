"""The vault's data keys: kept wrapped in PostgreSQL, unwrapped in memory for a while.

Decides when a new key is taken, how long one stays in memory, and how a rotation re-wraps them.
Plain keys are never written anywhere and never leave this process.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from vault.custodian import KEY_BYTES, CustodyError, KeyCustodian, WrappedKey

FINGERPRINT_KEY_ID = "fingerprint_1"
"""The one key card fingerprints are made with; it must outlive every data key."""

SEALING_SECONDS_MAX = 86_400
"""A data key seals for one day: far below the 2^32 random nonces one AES-GCM key allows."""

CACHE_SECONDS_MAX = 600.0
"""An unwrapped key stays in memory this long, so that a custodian's revocation takes effect."""

CACHE_KEYS_MAX = 256


@dataclass(frozen=True, slots=True)
class DataKey:
    """One unwrapped 32-byte key."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"DataKey(id={self.id!r})"


class DataKeys:
    """Reads and creates data keys. One event loop; several processes may share the table."""

    def __init__(
        self,
        pool: "AsyncConnectionPool[AsyncConnection[Any]]",
        custodian: KeyCustodian,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._custodian = custodian
        self._monotonic = monotonic
        self._cache: OrderedDict[str, tuple[float, DataKey]] = OrderedDict()
        self._sealing: tuple[float, str] | None = None

    async def sealing_key(self) -> DataKey:
        """Return the key new cards are sealed under, taking a new one when the last is a day old.

        Two processes may each take one on the same day; that is harmless.
        """
        if self._sealing is not None and self._monotonic() < self._sealing[0]:
            return await self.key(self._sealing[1])
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, extract(epoch FROM clock_timestamp() - created_at)::float8 FROM vault_data_keys"
                " WHERE id <> %s AND created_at > clock_timestamp() - make_interval(secs => %s)"
                " ORDER BY created_at DESC LIMIT 1",
                (FINGERPRINT_KEY_ID, SEALING_SECONDS_MAX),
            )
            newest = await cursor.fetchone()
        key_id, age_seconds = (newest[0], newest[1]) if newest else (await self._create(), 0.0)
        self._sealing = (self._monotonic() + SEALING_SECONDS_MAX - age_seconds, key_id)
        return await self.key(key_id)

    async def fingerprint_key(self) -> bytes:
        """Return the key of card fingerprints; the first caller ever makes it."""
        try:
            return (await self.key(FINGERPRINT_KEY_ID)).key
        except CustodyError:
            if await self._stored(FINGERPRINT_KEY_ID) is not None:
                raise
        await self._create(FINGERPRINT_KEY_ID)
        return (await self.key(FINGERPRINT_KEY_ID)).key

    async def key(self, key_id: str) -> DataKey:
        """Return one data key, from memory or unwrapped by the custodian.

        Raises:
            CustodyError: no such key, or its wrapping key is not held here. Not retryable.
        """
        held = self._cache.get(key_id)
        if held is not None and self._monotonic() < held[0]:
            self._cache.move_to_end(key_id)
            return held[1]
        wrapped = await self._stored(key_id)
        if wrapped is None:
            raise CustodyError(f"there is no data key {key_id}")
        data_key = DataKey(key_id, self._custodian.unwrap(wrapped))
        self._cache[key_id] = (self._monotonic() + CACHE_SECONDS_MAX, data_key)
        if len(self._cache) > CACHE_KEYS_MAX:
            self._cache.popitem(last=False)
        return data_key

    async def rewrap(self) -> int:
        """Wrap every data key with the custodian's current wrapping key; return how many changed.

        No ciphertext is touched. Idempotent; safe while others read, create and re-wrap keys: a row is
        replaced only if it is still wrapped as read. Every new wrapping is unwrapped and compared
        before it replaces the old one.

        Raises:
            CustodyError: a key does not unwrap; those before it are done. Not retryable.
        """
        changed = 0
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, wrapped_key, wrapping_key_id FROM vault_data_keys WHERE wrapping_key_id <> %s ORDER BY id",
                (self._custodian.current_key_id,),
            )
            stale = await cursor.fetchall()
        for key_id, wrapped_key, wrapping_key_id in stale:
            data_key = self._custodian.unwrap(WrappedKey(bytes(wrapped_key), wrapping_key_id))
            fresh = self._custodian.wrap(data_key)
            assert self._custodian.unwrap(fresh) == data_key, "a wrapping that does not unwrap would lose every card"
            async with self._pool.connection() as connection:
                updated = await connection.execute(
                    "UPDATE vault_data_keys SET wrapped_key = %s, wrapping_key_id = %s"
                    " WHERE id = %s AND wrapped_key = %s AND wrapping_key_id = %s",
                    (fresh.wrapped, fresh.wrapping_key_id, key_id, wrapped_key, wrapping_key_id),
                )
                changed += updated.rowcount
        return changed

    async def _create(self, key_id: str | None = None) -> str:
        new_id = key_id or f"dk_{secrets.token_hex(10)}"
        wrapped = self._custodian.wrap(secrets.token_bytes(KEY_BYTES))
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO vault_data_keys (id, wrapped_key, wrapping_key_id, created_at)"
                " VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT (id) DO NOTHING",
                (new_id, wrapped.wrapped, wrapped.wrapping_key_id),
            )
        return new_id

    async def _stored(self, key_id: str) -> WrappedKey | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT wrapped_key, wrapping_key_id FROM vault_data_keys WHERE id = %s", (key_id,)
            )
            row = await cursor.fetchone()
        return WrappedKey(bytes(row[0]), row[1]) if row else None
