"""The five rails this process plays: what each can do, how long it takes, how often it approves.

The core has its own idea of them (`rails/adapters/sandbox/profiles.py`), as with any real rail.
"""

from dataclasses import dataclass

CARD_FLOWS = frozenset({"authorize", "capture", "void", "refund", "evidence"})
PAYOUT_FLOWS = frozenset({"payout"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One rail. `final_funds`: money is final with the approval, no settlement file follows.

    `approval_odds` counts only for `tok_random_*`. `decided_after_seconds` is not None on rails that
    answer `pending` first and know only later.
    """

    name: str
    flows: frozenset[str]
    latency_seconds: float
    approval_odds: float
    final_funds: bool
    destinations: frozenset[str] = frozenset()
    decided_after_seconds: float | None = None


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network(name="card_alpha", flows=CARD_FLOWS, latency_seconds=0.002, approval_odds=0.94, final_funds=True),
        Network(name="card_beta", flows=CARD_FLOWS, latency_seconds=0.003, approval_odds=0.90, final_funds=True),
        Network(name="card_gamma", flows=CARD_FLOWS, latency_seconds=0.006, approval_odds=0.86, final_funds=False),
        Network(
            name="bank_instant",
            flows=PAYOUT_FLOWS,
            latency_seconds=0.004,
            approval_odds=0.98,
            final_funds=True,
            destinations=frozenset({"iban"}),
        ),
        Network(
            name="payout_batch",
            flows=PAYOUT_FLOWS,
            latency_seconds=0.004,
            approval_odds=0.97,
            final_funds=False,
            destinations=frozenset({"iban", "card", "usdc"}),
            decided_after_seconds=0.8,
        ),
    )
}
