"""How things are named: prefixed ids that sort by time, and ids derived from other ids.

Random ids are made by the API, never inside a workflow; everything a workflow names is derived.
"""

import hashlib
import os
import re
import time
from enum import StrEnum

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
ACCOUNT_ID = re.compile(r"^acct_[a-z0-9_]{1,60}$")


class Mode(StrEnum):
    """Test and live are two worlds: keys, accounts and events of one are invisible in the other."""

    TEST = "test"
    LIVE = "live"


def new_identifier(prefix: str) -> str:
    """Return `{prefix}_` and 26 characters: 48 bits of milliseconds, then 80 random bits.

    Sorts by creation time (lower-case Crockford base32, as ULID). Never call it in a workflow.
    """
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    return f"{prefix}_{encode_base32(number, 26)}"


def encode_base32(number: int, length: int) -> str:
    """Return `number` in lower-case Crockford base32, left-padded with zeros to `length`."""
    assert 0 <= number < 32**length
    pairs = []
    for _ in range(0, length, 2):
        pairs.append(_PAIRS[number & 1023])
        number >>= 10
    return "".join(reversed(pairs))[-length:]


def workflow_id(merchant_id: str, mode: Mode, idempotency_key: str) -> str:
    """Return the id of the one workflow a key may ever start (semantics rule 1)."""
    return f"{merchant_id}/{mode}/{idempotency_key}"


def rail_key(operation_id: str, attempt_number: int) -> str:
    """Return the key a rail sees for one attempt; the same on every re-send (semantics rule 6)."""
    return f"{operation_id}:{attempt_number}"


def charge_payout_id(charge_id: str) -> str:
    """Return the id of the payout that a charge starts: one for ever, and sorting with its charge."""
    digest = int.from_bytes(hashlib.sha256(f"payout of {charge_id}".encode()).digest()[:10], "big")
    return f"po_{charge_id.removeprefix('ch_')[:10]}{encode_base32(digest, 16)}"


def charge_payout_key(charge_id: str) -> str:
    """Return the idempotency key under which a charge starts its payout; merchants cannot use it."""
    return f"payout_of:{charge_id}"


def capture_tag(idempotency_key: str) -> str:
    """Return the name of a capture within its charge: derived from its key, so that no re-run of
    concurrent captures in another order can mistake one for the other."""
    return hashlib.sha256(idempotency_key.encode()).hexdigest()[:12]


def post_tag(idempotency_key: str) -> str:
    """Return the name of a post within its transfer, derived from its key as a capture's is."""
    return capture_tag(idempotency_key)


def capture_operation(charge_id: str, tag: str) -> str:
    """Return the operation id of a capture of a charge."""
    return f"{charge_id}.capture-{tag}"


def void_operation(charge_id: str) -> str:
    """Return the operation id of a charge's void: one for ever, so a void cannot happen twice."""
    return f"{charge_id}.void"


def evidence_operation(dispute_id: str, tag: str) -> str:
    """Return the operation id of handing evidence to a rail."""
    return f"{dispute_id}.evidence-{tag}"


def account_code(merchant_id: str, mode: Mode, account_id: str) -> str:
    """Return the ledger's name of a merchant's account; ids are unique per merchant and mode."""
    return f"{merchant_id}/{mode}/{account_id}"


def public_account_id(code: str) -> str:
    """Return what the API shows of an account code: `acct_…` for owned accounts, else the code."""
    return code.rsplit("/", 1)[-1]


def default_account_id(merchant_id: str, currency: str) -> str:
    """Return the id of the merchant's own account in a currency, opened on first use."""
    return f"acct_{merchant_id.removeprefix('mer_')}_{currency.lower()}"
