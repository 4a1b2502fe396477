"""Every sandbox rail under the rails contract, against the real process."""

from collections.abc import Awaitable, Callable

import pytest

from domain.rail import Flow
from rails.adapters.sandbox.profiles import SANDBOX_PROFILES
from rails.contract import CONTRACT, Effect, RailBench
from rails.faulty_path import Fault
from rails.registry import Rails
from tests.rails.sandbox_process import SandboxProcess

TOKENS = {
    "approved": "tok_visa_4291",
    "declined_hard": "tok_declined_hard",
    "declined_soft": "tok_soft_then_approved",
    "lost": "tok_timeout_approved",
}
NAMES = {
    "approved": "Ada Ordinary",
    "declined_hard": "Ada DECLINE",
    "declined_soft": "Ada SOFT",
    "lost": "Ada TIMEOUT",
}


class SandboxBench(RailBench):
    def __init__(self, rails: Rails, sandbox: SandboxProcess, rail: str) -> None:
        self.adapter = rails.adapter(rail)
        self._sandbox = sandbox

    def first_flow(self) -> Flow:
        return Flow.PAYOUT if Flow.PAYOUT in self.adapter.profile.flows else Flow.AUTHORIZE

    def order_fields(self, fate: str) -> dict[str, object]:
        if self.first_flow() is Flow.AUTHORIZE:
            return {"source": TOKENS[fate], "capture": True}
        return {"destination": {"type": "iban", "iban": "DE89370400440532013000", "name": NAMES[fate]}}

    def effect(self, rail_key: str) -> Effect | None:
        row = self._sandbox.row(rail_key)
        return Effect(row["outcome"], row["amount"], row["calls"]) if row else None

    async def break_next_call(self, kind: Fault) -> None:
        self._sandbox.inject(rail=self.adapter.profile.name, flow=self.first_flow().value, kind=kind, count=1)


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("rail", [profile.name for profile in SANDBOX_PROFILES if profile.name != "payout_batch"])
async def test_rail_keeps_contract(
    rails: Rails, sandbox: SandboxProcess, rail: str, rule: Callable[[RailBench], Awaitable[None]]
) -> None:
    await rule(SandboxBench(rails, sandbox, rail))


# A batch rail decides later, so it never declines in its answer; everything else holds.
@pytest.mark.parametrize(
    "rule", [rule for rule in CONTRACT if "declined" not in rule.__name__], ids=lambda rule: rule.__name__
)
async def test_batch_rail_keeps_contract(
    rails: Rails, sandbox: SandboxProcess, rule: Callable[[RailBench], Awaitable[None]]
) -> None:
    await rule(SandboxBench(rails, sandbox, "payout_batch"))
