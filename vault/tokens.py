"""The vault: card numbers in, tokens out, and back again with a trace.

Decides what a token is bound to, what the idempotency of a tokenization compares, and that nothing is
taken out without an audit record. Cryptography is in `envelope.py`, keys in `data_keys.py`.
"""

import base64
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from domain.book import BookWriter
from domain.canonical import fingerprint
from domain.identifiers import Mode, new_identifier
from domain.ledger import AuditDraft, KeyClaim, Posting, Record, RecordKind, RefusalCode
from domain.timestamps import rfc3339
from vault.cards import CardDetails, CardInput, bin_country_of, brand_of
from vault.custodian import KeyCustodian
from vault.data_keys import DataKeys
from vault.envelope import Binding, SealedCard, card_fingerprint, seal, unseal

ROUTE = "/v1/tokens"
FACTS_CACHED_MAX = 10_000
PLATFORM = "ledgerline"
"""The merchant id of audit records about the vault itself."""


class TokenNotFoundError(Exception):
    """No such token for this merchant and mode; whether another merchant has it is not told. Not retryable."""


class KeyReusedError(Exception):
    """The idempotency key belongs to another request. Not retryable. `param` is what differs first."""

    def __init__(self, param: str, object_id: str) -> None:
        super().__init__(f"the key was used for {object_id}; {param} differs")
        self.param = param
        self.object_id = object_id


class VaultRefusedError(Exception):
    """The books refused what must be recorded, so nothing was put in or taken out. Not retryable."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """The public document of a token; `replayed` when the key had already made it."""

    document: dict[str, Any]
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What risk and routing may know of a card without opening it."""

    brand: str
    last4: str
    bin_country: str | None
    fingerprint: str
    created_at: datetime


class Vault:
    """Tokenizes and detokenizes cards. One event loop; any number of processes."""

    def __init__(
        self,
        book: BookWriter,
        pool: "AsyncConnectionPool[AsyncConnection[Any]]",
        custodian: KeyCustodian,
    ) -> None:
        self._book = book
        self._pool = pool
        self._custodian = custodian
        self._keys = DataKeys(pool, custodian)
        self._facts: OrderedDict[tuple[str, Mode, str], TokenFacts] = OrderedDict()

    async def claim(self, card: CardInput, *, key: str, merchant_id: str, mode: Mode) -> KeyClaim:
        """Return the claim of an idempotency key for tokenizing `card`, under a fresh token id.

        The number enters only as its keyed fingerprint, so neither the stored request nor its hash
        can be searched for card numbers. The CVC is no part of it: it may not be kept in any form.
        """
        mark = card_fingerprint(card.number, mode, await self._keys.fingerprint_key())
        request = {"card": {"exp_month": card.exp_month, "exp_year": card.exp_year, "number": mark}}
        return KeyClaim(
            key=key,
            fingerprint=fingerprint(mode.value, merchant_id, "POST", ROUTE, request),
            route=ROUTE,
            request=request,
            object_kind=RecordKind.TOKEN.value,
            object_id=new_identifier("tok"),
        )

    async def tokenize(self, card: CardInput, *, merchant_id: str, mode: Mode, claim: KeyClaim) -> IssuedToken:
        """Put a card in and return its token. Idempotent on the claim's key, for ever.

        Raises:
            KeyReusedError: the key belongs to another request. Not retryable.
            VaultRefusedError: the books refused. Not retryable.
            ConnectionError: the books could not be reached; retryable with the same key.
        """
        earlier = await self._earlier(claim, merchant_id, mode)
        if earlier is not None:
            return earlier
        record = await self._record(card, merchant_id, mode, claim)
        result = await self._book.post(
            Posting(
                key=f"{record.id}:{record.version}",
                merchant_id=merchant_id,
                mode=mode,
                audit=AuditDraft(actor=merchant_id, action="token.created", object_id=record.id),
                records=(record,),
                claim=claim,
            )
        )
        if result.refusal is None:
            return IssuedToken(result.documents.get(record.id, record.document), replayed=False)
        if result.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            # Somebody was faster with the same key: theirs is the answer to both.
            winner = await self._earlier(claim, merchant_id, mode)
            if winner is not None:
                return winner
        raise VaultRefusedError(result.refusal.detail)

    async def detokenize(self, token_id: str, *, merchant_id: str, mode: Mode, purpose: str, actor: str) -> CardDetails:
        """Return the card behind a token, after an audit record says who took it out and what for.

        A token of another merchant or mode is not found, and the attempt is on record.

        Raises:
            TokenNotFoundError: not retryable.
            VaultRefusedError: the audit record was refused. Not retryable.
            SealBrokenError: the stored card was tampered with. Not retryable.
            CustodyError: its key is not to be had. Not retryable.
            ConnectionError: the audit record could not be written, so nothing was opened. Retryable.
        """
        sealed = await self._sealed(token_id, merchant_id, mode)
        await self._audit(
            f"{token_id}:{new_identifier('use')}",
            merchant_id,
            mode,
            AuditDraft(
                actor=actor,
                action="token.detokenized" if sealed else "token.detokenize_refused",
                object_id=token_id,
                details={"purpose": purpose},
            ),
        )
        if sealed is None:
            raise TokenNotFoundError(f"no token {token_id}")
        binding = Binding(token_id=token_id, merchant_id=merchant_id, mode=mode, data_key_id=sealed["data_key_id"])
        card = SealedCard(base64.b64decode(sealed["nonce"]), base64.b64decode(sealed["ciphertext"]))
        return unseal(card, (await self._keys.key(binding.data_key_id)).key, binding)

    async def token_facts(self, token_id: str, *, merchant_id: str, mode: Mode) -> TokenFacts | None:
        """Return what is known of a token's card without opening it, or None if there is no such token.

        Facts of a token never change, so they are kept in memory.
        """
        name = (merchant_id, mode, token_id)
        held = self._facts.get(name)
        if held is not None:
            return held
        row = await self._row("SELECT document, created_at FROM vault_tokens", token_id, merchant_id, mode)
        if row is None:
            return None
        document, created_at = row
        facts = TokenFacts(
            brand=document["brand"],
            last4=document["last4"],
            bin_country=document["bin_country"],
            fingerprint=document["fingerprint"],
            created_at=created_at,
        )
        self._facts[name] = facts
        if len(self._facts) > FACTS_CACHED_MAX:
            self._facts.popitem(last=False)
        return facts

    async def rewrap_data_keys(self, *, actor: str) -> int:
        """Wrap all data keys with the custodian's current wrapping key; return how many changed.

        No ciphertext is touched and every token stays readable throughout. Idempotent.
        """
        changed = await self._keys.rewrap()
        await self._audit(
            f"vault:{new_identifier('rewrap')}",
            PLATFORM,
            Mode.LIVE,
            AuditDraft(
                actor=actor,
                action="vault.data_keys_rewrapped",
                object_id=self._custodian.current_key_id,
                details={"rewrapped": changed},
            ),
        )
        return changed

    async def _record(self, card: CardInput, merchant_id: str, mode: Mode, claim: KeyClaim) -> Record:
        data_key = await self._keys.sealing_key()
        binding = Binding(token_id=claim.object_id, merchant_id=merchant_id, mode=mode, data_key_id=data_key.id)
        sealed = seal(card, data_key.key, binding)
        document = {
            "id": claim.object_id,
            "object": "token",
            "status": "active",
            "brand": brand_of(card.number),
            "last4": card.number[-4:],
            "bin_country": bin_country_of(card.number),
            "fingerprint": card_fingerprint(card.number, mode, await self._keys.fingerprint_key()),
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "livemode": mode is Mode.LIVE,
            "created_at": rfc3339(datetime.now(UTC)),
        }
        internal = {
            "cipher": "AES-256-GCM",
            "ciphertext": base64.b64encode(sealed.ciphertext).decode(),
            "nonce": base64.b64encode(sealed.nonce).decode(),
            "data_key_id": data_key.id,
        }
        return Record(
            kind=RecordKind.TOKEN, id=claim.object_id, version=1, document=document, internal=internal, create_only=True
        )

    async def _earlier(self, claim: KeyClaim, merchant_id: str, mode: Mode) -> IssuedToken | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT k.fingerprint, k.route, k.request, k.object_id, t.document FROM idempotency_keys k"
                " LEFT JOIN vault_tokens t ON t.id = k.object_id"
                " WHERE k.merchant_id = %s AND k.mode = %s AND k.key = %s",
                (merchant_id, mode.value, claim.key),
            )
            row = await cursor.fetchone()
        if row is None:
            return None
        stored_fingerprint, route, request, object_id, document = row
        if stored_fingerprint != claim.fingerprint:
            raise KeyReusedError(_first_difference(route, request, claim), object_id)
        assert document is not None, f"key of {object_id} is claimed without its token"
        return IssuedToken(document, replayed=True)

    async def _sealed(self, token_id: str, merchant_id: str, mode: Mode) -> dict[str, str] | None:
        row = await self._row("SELECT internal FROM vault_tokens", token_id, merchant_id, mode)
        return row[0] if row else None

    async def _row(self, select: str, token_id: str, merchant_id: str, mode: Mode) -> tuple[Any, ...] | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"{select} WHERE id = %s AND merchant_id = %s AND mode = %s", (token_id, merchant_id, mode.value)
            )
            return await cursor.fetchone()

    async def _audit(self, key: str, merchant_id: str, mode: Mode, draft: AuditDraft) -> None:
        result = await self._book.post(Posting(key=key, merchant_id=merchant_id, mode=mode, audit=draft))
        if result.refusal is not None:
            raise VaultRefusedError(result.refusal.detail)


def _first_difference(route: str, request: dict[str, Any], claim: KeyClaim) -> str:
    if route != claim.route:
        return "idempotency_key"
    stored, wanted = request["card"], claim.request["card"]
    return next(f"card.{name}" for name in ("number", "exp_month", "exp_year") if stored[name] != wanted[name])
