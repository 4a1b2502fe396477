"""What a refund does when the merchant's balance does not cover it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class OnLowBalance(StrEnum):
    """WAIT: until there is enough, for a while. NEGATIVE: go below zero, down to a limit. REFUSE: say no at once."""

    WAIT = "wait"
    NEGATIVE = "negative"
    REFUSE = "refuse"


WAIT_SECONDS = 604_800
"""How long a refund waits for funds when nobody says otherwise: a week."""

WAIT_SECONDS_MAX = 7_776_000
"""The longest wait: 90 days, after which a card network takes a refund for a new credit anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPolicy:
    """A merchant's policy. `negative_limits` by currency, in minor units, not negative: how far below zero."""

    on_low_balance: OnLowBalance = OnLowBalance.WAIT
    wait_seconds_max: int = WAIT_SECONDS
    negative_limits: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert 0 < self.wait_seconds_max <= WAIT_SECONDS_MAX
        assert all(limit >= 0 for limit in self.negative_limits.values())


def refund_policy_of(document: Mapping[str, Any] | None) -> RefundPolicy:
    """Return a stored policy, or the default for none."""
    if document is None:
        return RefundPolicy()
    return RefundPolicy(
        on_low_balance=OnLowBalance(document["on_low_balance"]),
        wait_seconds_max=document["wait_seconds_max"],
        negative_limits=document["negative_limits"],
    )


def refund_policy_document(policy: RefundPolicy) -> dict[str, Any]:
    """Return the policy as it is stored and shown."""
    return {
        "on_low_balance": policy.on_low_balance.value,
        "wait_seconds_max": policy.wait_seconds_max,
        "negative_limits": dict(policy.negative_limits),
    }
