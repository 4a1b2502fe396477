"""The audit chain: what is signed, and that the offline verifier sees every edit, deletion and re-order."""

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.signing import AuditSigner, SigningKeyError, key_id_of
from audit.verify import read_public_keys, verify_records
from domain.canonical import (
    GENESIS_HASH,
    audit_content,
    canonical_json,
    content_hash,
    fingerprint,
    record_hash,
)

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> AuditSigner:
    return AuditSigner.open(tmp_path_factory.mktemp("keys") / "audit.key")


def chain_of(signer: AuditSigner, count: int = 6) -> Records:
    records, previous = [], GENESIS_HASH
    for sequence in range(1, count + 1):
        content: dict[str, Any] = {
            "actor": "key_1",
            "action": "charge.settled",
            "object_id": f"ch_{sequence}",
            "merchant_id": "mer_1",
            "mode": "test",
            "details": {"amount": 8420 + sequence, "note": "é"},
            "posting_key": f"ch_{sequence}:2",
        }
        hashed = content_hash(audit_content(**content))
        key_id, signature = signer.sign(hashed)
        linked = record_hash(previous, hashed, signature)
        records.append(
            content
            | {
                "sequence": sequence,
                "recorded_at": "2026-03-02T14:05:00.000001Z",
                "previous_hash": previous.hex(),
                "content_hash": hashed.hex(),
                "record_hash": linked.hex(),
                "key_id": key_id,
                "signature": base64.b64encode(signature).decode(),
            }
        )
        previous = linked
    return records


def verify(records: Records, signer: AuditSigner, **expected: bytes) -> set[str]:
    keys = read_public_keys([signer.public_key()])
    report = verify_records([json.dumps(record) for record in records], keys, **expected)
    assert report.ok == (not report.violations) and report.records == len(records)
    return {violation.kind for violation in report.violations}


def rehash(record: dict[str, Any]) -> None:
    """What a forger without the signing key can do: make all hashes fit."""
    members = ("actor", "action", "object_id", "merchant_id", "mode", "details", "posting_key")
    record["content_hash"] = content_hash(audit_content(**{name: record[name] for name in members})).hex()
    parts = (bytes.fromhex(record["previous_hash"]), bytes.fromhex(record["content_hash"]))
    record["record_hash"] = record_hash(*parts, base64.b64decode(record["signature"])).hex()


def relink(records: Records) -> None:
    previous = GENESIS_HASH
    for record in records:
        record["previous_hash"] = previous.hex()
        rehash(record)
        previous = bytes.fromhex(record["record_hash"])


def test_rule_34_an_untouched_chain_verifies(signer: AuditSigner) -> None:
    records = chain_of(signer)
    assert verify(records, signer) == set()
    assert verify(records, signer, expected_head=bytes.fromhex(records[-1]["record_hash"])) == set()


@pytest.mark.parametrize("name", ["actor", "action", "object_id", "merchant_id", "mode", "posting_key"])
def test_rule_34_any_edit_is_seen_even_with_all_hashes_redone(signer: AuditSigner, name: str) -> None:
    records = chain_of(signer)
    records[2][name] += "x"
    assert verify(records, signer) == {"content_changed", "signature_wrong"}
    relink(records)
    assert verify(records, signer) == {"signature_wrong"}


def test_rule_34_an_edit_of_details_is_seen(signer: AuditSigner) -> None:
    records = chain_of(signer)
    records[0]["details"]["amount"] += 1
    assert "signature_wrong" in verify(records, signer)


def test_rule_34_a_deletion_is_seen(signer: AuditSigner) -> None:
    for position in range(5):
        records = chain_of(signer)
        del records[position]
        assert "chain_broken" in verify(records, signer)


def test_rule_34_a_deletion_relinked_is_seen_by_the_gap(signer: AuditSigner) -> None:
    records = chain_of(signer)
    del records[2]
    relink(records)
    assert verify(records, signer) == {"missing"}


def test_rule_34_a_cut_off_end_is_seen_against_a_known_head(signer: AuditSigner) -> None:
    records = chain_of(signer)
    head = bytes.fromhex(records[-1]["record_hash"])
    assert verify(records[:-1], signer) == set()
    assert verify(records[:-1], signer, expected_head=head) == {"head_differs"}


def test_rule_34_a_reorder_is_seen(signer: AuditSigner) -> None:
    records = chain_of(signer)
    records[1], records[3] = records[3], records[1]
    kinds = verify(records, signer)
    assert {"chain_broken", "out_of_order"} <= kinds


def test_rule_34_a_duplicated_record_is_seen(signer: AuditSigner) -> None:
    records = chain_of(signer)
    records.insert(2, dict(records[1]))
    assert {"chain_broken", "out_of_order"} <= verify(records, signer)


def test_a_record_of_another_signer_is_seen(signer: AuditSigner, tmp_path: Path) -> None:
    forged = chain_of(AuditSigner.open(tmp_path / "other.key"))
    assert verify(forged, signer) == {"unknown_key"}
    for record in forged:
        record["key_id"] = signer.key_id
    assert verify(forged, signer) == {"signature_wrong"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.pop("signature"),
        lambda record: record.update(signature="%%%"),
        lambda record: record.update(sequence="one"),
        lambda record: record.update(previous_hash="abcd"),
        lambda record: record.update(details=None),
        lambda record: record.update(signature=None, key_id=None),
    ],
)
def test_a_mangled_record_is_a_violation_not_a_crash(signer: AuditSigner, spoil: Callable[[Any], Any]) -> None:
    records = chain_of(signer)
    spoil(records[3])
    assert verify(records, signer)


def test_hex_signatures_as_postgresql_writes_them(signer: AuditSigner) -> None:
    records = chain_of(signer)
    for record in records:
        record["signature"] = "\\x" + base64.b64decode(record["signature"]).hex()
        record["previous_hash"] = "\\x" + record["previous_hash"]
    assert verify(records, signer) == set()


def test_the_key_file_is_private_and_stays_the_same(tmp_path: Path) -> None:
    path = tmp_path / "home" / "audit.key"
    first, second = AuditSigner.open(path), AuditSigner.open(path)
    assert first.key_id == second.key_id and first.sign(bytes(32)) == second.sign(bytes(32))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.key_id == key_id_of(base64.b64decode(first.public_key()["public_key"]))
    assert [entry.name for entry in path.parent.iterdir()] == ["audit.key"]
    path.chmod(0o644)
    with pytest.raises(SigningKeyError, match="chmod 600"):
        AuditSigner.open(path)


def test_a_damaged_key_file_is_refused_without_quoting_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    for content in ("nonsense", '{"private_key": "c2hvcnQ="}', "[]"):
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(SigningKeyError) as refused:
            AuditSigner.open(path)
        assert content not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_reads_back_and_is_stable(value: Any) -> None:
    written = canonical_json(value)
    read = json.loads(written.decode("utf-8", errors="surrogatepass"))
    assert read == value and canonical_json(read) == written


def test_canonical_json_is_as_documented() -> None:
    assert canonical_json({"b": 1, "a": "é", "c": [True, None]}) == '{"a":"é","b":1,"c":[true,null]}'.encode()
    with pytest.raises(ValueError):
        canonical_json(float("nan"))
    with pytest.raises(TypeError):
        canonical_json({1: "one"})


def test_rule_3_fingerprint_sees_every_value_but_not_the_order() -> None:
    base = fingerprint("test", "mer_1", "POST", "/v1/charges", {"amount": 8420, "currency": "EUR"})
    assert base == fingerprint("test", "mer_1", "post", "/v1/charges", {"currency": "EUR", "amount": 8420})
    others = {
        fingerprint("live", "mer_1", "POST", "/v1/charges", {"amount": 8420, "currency": "EUR"}),
        fingerprint("test", "mer_2", "POST", "/v1/charges", {"amount": 8420, "currency": "EUR"}),
        fingerprint("test", "mer_1", "POST", "/v1/refunds", {"amount": 8420, "currency": "EUR"}),
        fingerprint("test", "mer_1", "POST", "/v1/charges", {"amount": 8421, "currency": "EUR"}),
        fingerprint("test", "mer_1", "POST", "/v1/charges", {"amount": "8420", "currency": "EUR"}),
        fingerprint("test", "mer_1", "POST", "/v1/charges", {"amount": 8420, "currency": "EUR", "metadata": {}}),
    }
    assert len(others) == 6 and base not in others
