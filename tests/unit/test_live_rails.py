"""Live money never goes to the rails of the sandbox."""

from domain.rail import Flow
from rails.registry import build_rails


async def test_live_mode_sees_no_sandbox_rail() -> None:
    rails = build_rails(sandbox_url="http://127.0.0.1:1")
    try:
        assert rails.profiles(Flow.AUTHORIZE, "EUR")
        assert rails.profiles(Flow.AUTHORIZE, "EUR", live=True) == ()
        assert rails.profiles(Flow.PAYOUT, "EUR", "iban", live=True) == ()
    finally:
        await rails.aclose()
