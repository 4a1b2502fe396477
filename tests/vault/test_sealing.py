"""Envelope and custodian: what opens, and everything that must not."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from domain.identifiers import Mode
from vault.cards import CardDetails, CardInput
from vault.custodian import CustodyError, FileCustodian, WrappedKey
from vault.envelope import Binding, SealBrokenError, SealedCard, card_fingerprint, seal, unseal
from vault.key_file import KeyFileError

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))
CARD = CardInput(number="4242424242424242", exp_month=12, exp_year=2030)
BINDING = Binding(token_id="tok_1", merchant_id="mer_1", mode=Mode.TEST, data_key_id="dk_1")


def test_round_trip_and_fresh_nonces() -> None:
    sealed = [seal(CARD, KEY, BINDING) for _ in range(50)]
    assert unseal(sealed[0], KEY, BINDING) == CardDetails(number=CARD.number, exp_month=12, exp_year=2030)
    assert len({one.nonce for one in sealed}) == len({one.ciphertext for one in sealed}) == 50
    assert b"4242" not in sealed[0].ciphertext


def test_every_changed_bit_of_ciphertext_and_nonce_is_seen() -> None:
    sealed = seal(CARD, KEY, BINDING)
    for bit in range(len(sealed.ciphertext) * 8):
        changed = SealedCard(sealed.nonce, _flip(sealed.ciphertext, bit))
        with pytest.raises(SealBrokenError):
            unseal(changed, KEY, BINDING)
    for bit in range(len(sealed.nonce) * 8):
        with pytest.raises(SealBrokenError):
            unseal(SealedCard(_flip(sealed.nonce, bit), sealed.ciphertext), KEY, BINDING)
    for cut in (0, 8, len(sealed.ciphertext) - 1):
        with pytest.raises(SealBrokenError):
            unseal(SealedCard(sealed.nonce, sealed.ciphertext[:cut]), KEY, BINDING)


def test_rule_35_a_sealed_card_moved_elsewhere_does_not_open() -> None:
    sealed = seal(CARD, KEY, BINDING)
    elsewhere = [
        replace(BINDING, token_id="tok_2"),
        replace(BINDING, merchant_id="mer_2"),
        replace(BINDING, mode=Mode.LIVE),
        replace(BINDING, data_key_id="dk_2"),
    ]
    for binding in elsewhere:
        with pytest.raises(SealBrokenError) as broken:
            unseal(sealed, KEY, binding)
        assert "4242" not in str(broken.value)
    with pytest.raises(SealBrokenError):
        unseal(sealed, OTHER_KEY, BINDING)


def test_rule_35_fingerprint_is_keyed() -> None:
    mark = card_fingerprint(CARD.number, Mode.TEST, KEY)
    assert mark == card_fingerprint(CARD.number, Mode.TEST, KEY) and len(mark) == 64
    others = {
        card_fingerprint(CARD.number, Mode.TEST, OTHER_KEY),
        card_fingerprint(CARD.number, Mode.LIVE, KEY),
        card_fingerprint("4000002760000016", Mode.TEST, KEY),
    }
    assert len(others) == 3 and mark not in others


def test_custodian_wraps_and_sees_every_changed_bit(tmp_path: Path) -> None:
    custodian = FileCustodian(tmp_path / "vault.key")
    wrapped = custodian.wrap(KEY)
    assert custodian.unwrap(wrapped) == KEY and len(wrapped.wrapped) == 40 and KEY not in wrapped.wrapped
    for bit in range(len(wrapped.wrapped) * 8):
        with pytest.raises(CustodyError):
            custodian.unwrap(replace(wrapped, wrapped=_flip(wrapped.wrapped, bit)))
    with pytest.raises(CustodyError, match="not held here"):
        custodian.unwrap(WrappedKey(wrapped.wrapped, "kek_unknown"))


def test_wrapping_is_rfc_3394() -> None:
    # Source: RFC 3394 section 4.6, 256 bits of key data wrapped with a 256-bit KEK.
    kek = bytes(range(32))
    key_data = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
    expected = "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"
    assert aes_key_wrap(kek, key_data).hex().upper() == expected


def test_rotation_wraps_anew_and_still_unwraps(tmp_path: Path) -> None:
    custodian, elsewhere = FileCustodian(tmp_path / "vault.key"), FileCustodian(tmp_path / "vault.key")
    before, first = custodian.wrap(KEY), custodian.current_key_id
    second = custodian.rotate()
    after = custodian.wrap(KEY)
    assert first != second == after.wrapping_key_id
    assert custodian.unwrap(before) == custodian.unwrap(after) == KEY
    # Another process learns of the new key when it meets it, and before it wraps again.
    assert elsewhere.unwrap(after) == KEY and elsewhere.wrap(KEY).wrapping_key_id == second
    with pytest.raises(CustodyError):
        custodian.retire(second)
    custodian.retire(first)
    with pytest.raises(CustodyError):
        custodian.unwrap(before)
    assert FileCustodian(tmp_path / "vault.key").unwrap(after) == KEY


def test_the_key_file_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "home" / "vault.key"
    FileCustodian(path).rotate()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and [entry.name for entry in path.parent.iterdir()] == [path.name]
    path.chmod(0o604)
    with pytest.raises(KeyFileError, match="chmod 600"):
        FileCustodian(path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"current": "a", "keys": {}}', '{"current": "a", "keys": {"a": "c2hvcnQ="}}']
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vault.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        FileCustodian(path)


def _flip(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
