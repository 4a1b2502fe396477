"""One writing of a JSON value: what is hashed, signed and compared here is hashed over these bytes.

Decides the canonical form, the content of an audit record, its chain formula, and the fingerprint
of a request. Decides nothing about who may do what.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_CONTAINERS = (dict, list, tuple)
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

GENESIS_HASH = bytes(32)
"""What the first audit record has as its previous hash: 32 zero bytes."""


def canonical_json(value: Any) -> bytes:
    """Return the one UTF-8 writing of a JSON value: keys sorted by code point, no white space.

    Text is not escaped beyond what JSON demands, so `{"b": 1, "a": "é"}` is `{"a":"é","b":1}`.
    Tuples are written as arrays.

    Raises:
        ValueError: a float is NaN or infinite. Not retryable.
        TypeError: the value is not JSON, or a mapping has a key that is not text. Not retryable.
    """
    _check_keys(value)
    return _ENCODE(value).encode("utf-8", errors="surrogatepass")


def _check_keys(value: Any) -> None:
    # JSON would turn 1 and "1" into the same key: two values with one writing.
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                raise TypeError("keys of canonical JSON are text")
            if isinstance(member, _CONTAINERS):
                _check_keys(member)
    elif isinstance(value, list | tuple):
        for member in value:
            if isinstance(member, _CONTAINERS):
                _check_keys(member)


def audit_content(
    *,
    actor: str,
    action: str,
    object_id: str,
    merchant_id: str,
    mode: str,
    details: Mapping[str, Any],
    posting_key: str,
) -> bytes:
    """Return the bytes an audit record's content hash is taken over.

    The sequence and `recorded_at` are not part of it: they are given at commit, after the signature,
    and the chain fixes the order.
    """
    return canonical_json(
        {
            "actor": actor,
            "action": action,
            "object_id": object_id,
            "merchant_id": merchant_id,
            "mode": mode,
            "details": dict(details),
            "posting_key": posting_key,
        }
    )


def content_hash(content: bytes) -> bytes:
    """Return the 32-byte SHA-256 that is signed and chained."""
    return hashlib.sha256(content).digest()


def record_hash(previous_hash: bytes, content_hash: bytes, signature: bytes) -> bytes:
    """Return the 32-byte link of the audit chain: SHA-256(previous || content hash || signature).

    The database computes the same in SQL at commit; this is what the offline verifier recomputes.
    """
    assert len(previous_hash) == 32 and len(content_hash) == 32
    return hashlib.sha256(previous_hash + content_hash + signature).digest()


def fingerprint(mode: str, merchant_id: str, method: str, route: str, body: Any) -> str:
    """Return the hex SHA-256 by which a repeated idempotency key is recognised (semantics rule 3).

    `route` is the path as called, for instance `/v1/charges/ch_1/capture`; `body` the request
    without its idempotency key. Key order and white space do not matter, any value does.
    """
    return hashlib.sha256(canonical_json([mode, merchant_id, method.upper(), route, body])).hexdigest()
