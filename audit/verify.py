"""Offline verification of exported audit records: detects any edit, deletion or re-order.

Needs the export (NDJSON, one record a line, whole and in order of `sequence`) and the public keys; no
database and no trust in whoever made the export. A cut-off *end* cannot be seen in what remains:
compare `head_sequence` and `head_hash` with ones noted earlier or elsewhere (`expected_head`).
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.canonical import GENESIS_HASH, audit_content, content_hash, record_hash

_CONTENT_FIELDS = ("actor", "action", "object_id", "merchant_id", "mode", "details", "posting_key")


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, at one record. `sequence` is None where a line has none."""

    line: int
    sequence: int | None
    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """What a verification found. `head_hash` is the hex record hash of the last record."""

    records: int
    head_sequence: int | None
    head_hash: str
    violations: tuple[Violation, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether every record is as it was written, in the order it was written."""
        return not self.violations


@dataclass(slots=True)
class _Chain:
    sequence: int | None
    hash: bytes


def verify_records(
    lines: Iterable[str],
    public_keys: Mapping[str, bytes],
    *,
    previous_hash: bytes = GENESIS_HASH,
    expected_head: bytes | None = None,
) -> VerificationReport:
    """Verify an NDJSON export of audit records.

    Args:
        lines: one JSON record each, with the members of the content (actor, action, object_id,
            merchant_id, mode, details, posting_key) and sequence, previous_hash, content_hash,
            record_hash (hex), key_id, signature (base64 or hex). Further members are ignored.
        public_keys: raw 32-byte Ed25519 keys by key id, got apart from the export.
        previous_hash: what the first record links to; 32 zero bytes for the whole chain.
        expected_head: record hash the export must end with, if one is known.
    """
    chain = _Chain(None, previous_hash)
    keys = {key_id: Ed25519PublicKey.from_public_bytes(raw) for key_id, raw in public_keys.items()}
    violations: list[Violation] = []
    count = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        count += 1
        violations.extend(_verify_line(number, line, keys, chain))
    if expected_head is not None and chain.hash != expected_head:
        violations.append(Violation(count, chain.sequence, "head_differs", "the export does not end where it should"))
    return VerificationReport(
        records=count, head_sequence=chain.sequence, head_hash=chain.hash.hex(), violations=tuple(violations)
    )


def read_public_keys(documents: Iterable[Mapping[str, str]]) -> dict[str, bytes]:
    """Return raw keys by id from published key documents (`AuditSigner.public_key`)."""
    return {document["key_id"]: base64.b64decode(document["public_key"]) for document in documents}


def _verify_line(number: int, line: str, keys: Mapping[str, Ed25519PublicKey], chain: _Chain) -> Iterator[Violation]:
    try:
        record = json.loads(line)
        sequence = int(record["sequence"])
        signature = _bytes(record["signature"])
        stored = {name: _hash(record[name]) for name in ("previous_hash", "content_hash", "record_hash")}
        content = content_hash(audit_content(**{name: record[name] for name in _CONTENT_FIELDS}))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        yield Violation(number, None, "unreadable", f"not an audit record: {type(error).__name__}")
        return
    if chain.sequence is not None and sequence != chain.sequence + 1:
        kind = "missing" if sequence > chain.sequence else "out_of_order"
        yield Violation(number, sequence, kind, f"{sequence} follows {chain.sequence}")
    if stored["previous_hash"] != chain.hash:
        yield Violation(number, sequence, "chain_broken", "does not link to the record before it")
    if stored["content_hash"] != content:
        yield Violation(number, sequence, "content_changed", "the content is not what was hashed")
    # Over the *recomputed* content: an edit with a fitting new hash still has no fitting signature.
    yield from _verify_signature(number, sequence, record.get("key_id"), signature, content, keys)
    linked = record_hash(stored["previous_hash"], stored["content_hash"], signature)
    if stored["record_hash"] != linked:
        yield Violation(number, sequence, "record_hash_wrong", "the link is not the hash of this record")
    chain.sequence, chain.hash = sequence, stored["record_hash"]


def _verify_signature(
    number: int,
    sequence: int,
    key_id: Any,
    signature: bytes,
    content: bytes,
    keys: Mapping[str, Ed25519PublicKey],
) -> Iterator[Violation]:
    key = keys.get(key_id) if isinstance(key_id, str) else None
    if key is None:
        yield Violation(number, sequence, "unknown_key", "signed with a key that is not among the public keys")
        return
    try:
        key.verify(signature, content)
    except InvalidSignature:
        yield Violation(number, sequence, "signature_wrong", "the signature does not fit the content")


def _hash(text: str) -> bytes:
    hashed = _bytes(text)
    if len(hashed) != 32:
        raise ValueError("not a SHA-256")
    return hashed


def _bytes(text: str) -> bytes:
    """Read hex (also with PostgreSQL's `\\x`) or base64; 64 hex digits are read as hex."""
    plain = text.removeprefix("\\x")
    try:
        return bytes.fromhex(plain)
    except ValueError:
        pass
    try:
        return base64.b64decode(plain, validate=True)
    except binascii.Error:
        raise ValueError("neither hex nor base64") from None
