"""Lines of rails.toml for the bank rails: one is enough, and what is wrong with one is said in a sentence."""

from pathlib import Path

import pytest

from domain.rail import Flow
from rails.registry import build_rails

OURS = {"debtor_iban": "NL91 ABNA 0417 1643 00", "debtor_name": "Ledgerline B.V.", "debtor_bic": "ABNANL2A"}
LINES = {
    "sepa_credit": {"url": "http://127.0.0.1:1", **OURS},
    "sepa_instant": {"url": "http://127.0.0.1:1", **OURS},
    "ach": {
        "url": "http://127.0.0.1:1",
        "routing_number": "091000019",
        "company_id": "1234567890",
        "company_name": "Ledgerline Inc",
    },
}


async def test_one_line_switches_a_bank_rail_on() -> None:
    rails = build_rails(sandbox_url="http://127.0.0.1:1", configurations=LINES)
    try:
        for currency, destination, names in (
            ("EUR", "iban", {"sepa_credit", "sepa_instant"}),
            ("USD", "ach", {"ach"}),
        ):
            found = rails.profiles(Flow.PAYOUT, currency, destination, amount_minor=8420)
            assert names <= {profile.name for profile in found}
        assert not {profile.name for profile in rails.profiles(Flow.PAYOUT, "USD", "iban")} & set(LINES)
        assert not {profile.name for profile in rails.profiles(Flow.PAYOUT, "EUR", "iban", live=True)} & set(LINES)
        assert set(LINES) == set(rails.collectors())
    finally:
        await rails.aclose()


async def test_two_banks_are_two_lines_of_one_provider() -> None:
    second = {**LINES["sepa_credit"], "provider": "sepa_credit", "largest_minor": "100000", "fee_minor": "7"}
    rails = build_rails(sandbox_url="http://127.0.0.1:1", configurations={**LINES, "house_bank": second})
    try:
        found = {profile.name for profile in rails.profiles(Flow.PAYOUT, "EUR", "iban", amount_minor=100_001)}
        assert "sepa_credit" in found and "house_bank" not in found
        assert rails.profile("house_bank").prices["EUR"].fixed_minor == 7
    finally:
        await rails.aclose()


@pytest.mark.parametrize(
    ("rail", "wrong", "says"),
    [
        ("sepa_credit", {"debtor_iban": "NL00ABNA0417164300"}, "debtor_iban"),
        ("sepa_credit", {"url": ""}, "url"),
        ("sepa_credit", {"mode": "live"}, "https"),
        ("sepa_credit", {"user": "us"}, "password_file"),
        ("sepa_credit", {"schemas": "/nowhere"}, "schemas"),
        ("sepa_instant", {"debtor_bic": ""}, "debtor_bic"),
        ("sepa_instant", {"mode": "live"}, "https"),
        ("ach", {"routing_number": "091000018"}, "routing number"),
        ("ach", {"company_id": "12"}, "ten digits"),
        ("ach", {"mode": "live"}, "https"),
        ("ach", {"cut_off": "noon"}, "noon"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(rail: str, wrong: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        build_rails(sandbox_url="http://127.0.0.1:1", configurations={rail: {**LINES[rail], **wrong}})
