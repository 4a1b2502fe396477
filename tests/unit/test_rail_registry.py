"""Where rails come from: the sandbox's own, and installed packages that are configured."""

import sys
from pathlib import Path

import pytest

from domain.rail import Flow
from rails.adapter import profile_document
from rails.registry import Rails, build_rails

NOWHERE = "http://127.0.0.1:9"

PLUGIN = """
from dataclasses import replace
from rails.adapters.sandbox.adapter import SandboxRailAdapter
from rails.exchange import open_client
from rails.adapters.sandbox.profiles import SANDBOX_PROFILES

def build(configuration):
    profile = replace(SANDBOX_PROFILES[0], name=configuration["name"])
    return [SandboxRailAdapter(profile, open_client(configuration["url"]))]
"""


@pytest.fixture
def installed_rail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package installed for real, as pip leaves it: a module and its metadata on the path."""
    (tmp_path / "card_omega_rail.py").write_text(PLUGIN)
    metadata = tmp_path / "card_omega_rail-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: card-omega-rail\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ledgerline.rails]\nomega = card_omega_rail:build\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "card_omega_rail", raising=False)


async def test_sandbox_rails_are_built_in() -> None:
    rails = build_rails(sandbox_url=NOWHERE)
    assert rails.names() == ("bank_instant", "card_alpha", "card_beta", "card_gamma", "payout_batch")
    assert [profile.name for profile in rails.profiles(Flow.REFUND, "EUR")] == ["card_alpha", "card_beta", "card_gamma"]
    assert [profile.name for profile in rails.profiles(Flow.PAYOUT, "EUR")] == ["bank_instant", "payout_batch"]
    assert [profile.name for profile in rails.profiles(Flow.PAYOUT, "USDC", "usdc")] == ["payout_batch"]
    assert rails.profiles(Flow.AUTHORIZE, "USDC") == ()
    assert rails.profile("card_alpha") is rails.adapter("card_alpha").profile
    with pytest.raises(KeyError):
        rails.adapter("card_omega")
    await rails.aclose()
    await rails.aclose()


@pytest.mark.usefixtures("installed_rail")
async def test_installed_rail_is_used_once_configured() -> None:
    assert "card_omega" not in build_rails(sandbox_url=NOWHERE).names()
    rails = build_rails(sandbox_url=NOWHERE, configurations={"omega": {"name": "card_omega", "url": NOWHERE}})
    assert "card_omega" in [profile.name for profile in rails.profiles(Flow.AUTHORIZE, "EUR")]
    await rails.aclose()


@pytest.mark.usefixtures("installed_rail")
def test_two_rails_of_one_name_and_missing_packages_are_refused() -> None:
    with pytest.raises(ValueError, match="two rail adapters are called card_alpha"):
        build_rails(sandbox_url=NOWHERE, configurations={"omega": {"name": "card_alpha", "url": NOWHERE}})
    with pytest.raises(ValueError, match="no installed package offers the rail sigma"):
        build_rails(sandbox_url=NOWHERE, configurations={"sigma": {}})


def test_profile_document_shows_prices() -> None:
    rails: Rails = build_rails(sandbox_url=NOWHERE)
    document = profile_document(rails.profile("card_alpha"))
    assert document["prices"]["EUR"] == {"basis_points": 90, "fixed": 10}
    assert document["flows"] == ["authorize", "capture", "evidence", "refund", "void"]
