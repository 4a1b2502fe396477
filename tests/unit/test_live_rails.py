"""Live money never goes to the rails of the sandbox, and a test key never moves real money."""

from dataclasses import dataclass, replace

import pytest

from domain.rail import Flow
from rails.adapter import RailProfile
from rails.adapters.sandbox.profiles import SANDBOX_PROFILES
from rails.configuration import moves_real_money
from rails.registry import Rails, build_rails


async def test_live_mode_sees_no_sandbox_rail() -> None:
    rails = build_rails(sandbox_url="http://127.0.0.1:1")
    try:
        assert rails.profiles(Flow.AUTHORIZE, "EUR")
        assert rails.profiles(Flow.AUTHORIZE, "EUR", live=True) == ()
        assert rails.profiles(Flow.PAYOUT, "EUR", "iban", live=True) == ()
    finally:
        await rails.aclose()


@dataclass
class _Line:
    """An adapter as far as the registry looks at it."""

    profile: RailProfile


@pytest.mark.parametrize(("line", "live"), [({}, False), ({"mode": "test"}, False), ({"mode": "live"}, True)])
def test_a_line_serves_one_mode_and_test_unless_told_otherwise(line: dict[str, str], live: bool) -> None:
    profile = replace(SANDBOX_PROFILES[0], name="acme", sandbox=not moves_real_money("acme", line))
    rails = Rails([_Line(profile)])  # type: ignore[list-item]
    assert bool(rails.profiles(Flow.AUTHORIZE, "EUR", live=True)) is live
    assert bool(rails.profiles(Flow.AUTHORIZE, "EUR", live=False)) is not live
