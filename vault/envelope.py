"""Sealing of one card under one data key: AES-256-GCM, bound to where it belongs.

Pure. Decides cipher, nonce and what is bound. Decides nothing about where keys come from.
"""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.canonical import canonical_json
from domain.identifiers import Mode
from vault.cards import CardDetails, CardInput

NONCE_BYTES = 12


class SealBrokenError(Exception):
    """A sealed card was changed, moved to another token, or is under another key. Not retryable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a sealed card is tied to: moved to any other token, merchant, mode or key it won't open."""

    token_id: str
    merchant_id: str
    mode: Mode
    data_key_id: str

    def associated(self) -> bytes:
        """Return the bytes authenticated with the ciphertext."""
        return canonical_json([self.token_id, self.merchant_id, self.mode.value, self.data_key_id])


@dataclass(frozen=True, slots=True)
class SealedCard:
    """Ciphertext with its 16-byte tag, and the 96-bit random nonce it was made with."""

    nonce: bytes
    ciphertext: bytes


def seal(card: CardInput, data_key: bytes, binding: Binding) -> SealedCard:
    """Return the card sealed under a 32-byte data key with a fresh random nonce.

    Random 96-bit nonces allow 2^32 cards per key; `vault/data_keys.py` takes a new key every day.
    """
    plaintext = canonical_json({"number": card.number, "exp_month": card.exp_month, "exp_year": card.exp_year})
    nonce = secrets.token_bytes(NONCE_BYTES)
    return SealedCard(nonce, AESGCM(data_key).encrypt(nonce, plaintext, binding.associated()))


def unseal(sealed: SealedCard, data_key: bytes, binding: Binding) -> CardDetails:
    """Return the card.

    Raises:
        SealBrokenError: any bit of nonce, ciphertext or binding differs. Not retryable.
    """
    try:
        plaintext = AESGCM(data_key).decrypt(sealed.nonce, sealed.ciphertext, binding.associated())
    except (InvalidTag, ValueError):
        raise SealBrokenError(f"the card of {binding.token_id} does not open") from None
    card = json.loads(plaintext)
    return CardDetails(number=card["number"], exp_month=card["exp_month"], exp_year=card["exp_year"])


def card_fingerprint(number: str, mode: Mode, fingerprint_key: bytes) -> str:
    """Return the hex HMAC-SHA256 by which a card is recognised across tokens and merchants of one mode.

    Keyed, because a bare hash of a card number is undone by trying all of them. Test and live differ,
    so that test traffic never counts against a live card.
    """
    message = f"ledgerline card fingerprint\0{mode.value}\0{number}".encode()
    return hmac.new(fingerprint_key, message, hashlib.sha256).hexdigest()
