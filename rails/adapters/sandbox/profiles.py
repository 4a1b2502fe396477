"""What the core knows of the five sandbox rails: prices, speed, guarantees.

Figures are this project's own invention; with a real rail they come from its contract.
"""

from domain.currencies import EXPONENTS
from domain.rail import Flow
from rails.adapter import RailPrice, RailProfile

CARD_FLOWS = frozenset({Flow.AUTHORIZE, Flow.CAPTURE, Flow.VOID, Flow.REFUND, Flow.EVIDENCE})
NOT_FOUND_FINAL_AFTER_SECONDS = 6
"""Longer than an order is given; asking then also closes the key at the sandbox (`close=true`), so
that even an order still under way is refused for good."""

TWO_DAYS_SECONDS = 172_800.0
SANDBOX = "sandbox"
"""The provider of all five, at whose address they call back."""


def price_list(basis_points: int, fixed_cents: int, *, usdc: bool = False) -> dict[str, RailPrice]:
    """Return a price for every currency: the fixed part is given in hundredths of its main unit.

    10 hundredths are 10 in EUR (exponent 2), 100 in KWD (exponent 3), 0.1, so 1, in JPY (exponent 0).
    """
    return {
        currency: RailPrice(basis_points=basis_points, fixed_minor=-(-fixed_cents * 10**places // 100))
        for currency, places in EXPONENTS.items()
        if usdc or currency != "USDC"
    }


SANDBOX_PROFILES: tuple[RailProfile, ...] = (
    RailProfile(
        name="card_alpha",
        kind="card",
        flows=CARD_FLOWS,
        prices=price_list(90, 10),
        settlement_seconds=2.0,
        final_funds=True,
        idempotent=True,
        not_found_final_after_seconds=NOT_FOUND_FINAL_AFTER_SECONDS,
        approval_prior=0.94,
        sandbox=True,
        provider=SANDBOX,
    ),
    RailProfile(
        name="card_beta",
        kind="card",
        flows=CARD_FLOWS,
        prices=price_list(70, 15),
        settlement_seconds=60.0,
        final_funds=True,
        idempotent=True,
        not_found_final_after_seconds=NOT_FOUND_FINAL_AFTER_SECONDS,
        approval_prior=0.90,
        sandbox=True,
        provider=SANDBOX,
    ),
    RailProfile(
        name="card_gamma",
        kind="card",
        flows=CARD_FLOWS,
        prices=price_list(50, 20),
        settlement_seconds=TWO_DAYS_SECONDS,
        final_funds=False,
        idempotent=True,
        not_found_final_after_seconds=NOT_FOUND_FINAL_AFTER_SECONDS,
        approval_prior=0.86,
        sandbox=True,
        provider=SANDBOX,
    ),
    RailProfile(
        name="bank_instant",
        kind="bank",
        flows=frozenset({Flow.PAYOUT}),
        prices=price_list(0, 20),
        settlement_seconds=10.0,
        final_funds=True,
        idempotent=True,
        not_found_final_after_seconds=NOT_FOUND_FINAL_AFTER_SECONDS,
        approval_prior=0.98,
        sandbox=True,
        provider=SANDBOX,
        payout_destinations=frozenset({"iban"}),
    ),
    RailProfile(
        name="payout_batch",
        kind="payout",
        flows=frozenset({Flow.PAYOUT}),
        prices=price_list(0, 8, usdc=True),
        settlement_seconds=TWO_DAYS_SECONDS,
        final_funds=False,
        idempotent=True,
        not_found_final_after_seconds=NOT_FOUND_FINAL_AFTER_SECONDS,
        approval_prior=0.97,
        sandbox=True,
        provider=SANDBOX,
        payout_destinations=frozenset({"iban", "card", "usdc"}),
    ),
)
SANDBOX_RAILS = frozenset(profile.name for profile in SANDBOX_PROFILES)
