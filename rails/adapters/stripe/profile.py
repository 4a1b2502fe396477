"""What the core knows of Stripe: the flows, list prices and limits of `terms.json`, and what it promises."""

import json
from pathlib import Path
from typing import Any

from domain.rail import Flow, RailPace
from rails.adapter import AmountLimits, RailPrice, RailProfile

_TERMS: dict[str, Any] = json.loads((Path(__file__).parent / "terms.json").read_text("utf-8"))
assert _TERMS["source"] and _TERMS["as_of"], "a table of terms names its source and date"


def stripe_profile(name: str, *, live: bool, idempotent: bool) -> RailProfile:
    """Return the profile of one account. `idempotent`: its counterpart keeps idempotency keys, as Stripe does.

    Stripe gives no promise that an order it doesn't know will never happen, so not found is never a no. In live mode
    issuers take seconds; so does Stripe.
    """
    return RailProfile(
        name=name,
        kind="card",
        flows=frozenset({Flow.AUTHORIZE, Flow.CAPTURE, Flow.VOID, Flow.REFUND}),
        prices={
            currency: RailPrice(basis_points=price["basis_points"], fixed_minor=price["fixed"])
            for currency, price in _TERMS["prices"].items()
        },
        settlement_seconds=float(_TERMS["settlement_seconds"]),
        final_funds=False,
        idempotent=idempotent,
        not_found_final_after_seconds=None,
        approval_prior=_TERMS["approval_prior"],
        sandbox=not live,
        pace=RailPace(deadline_seconds=8.0, inquiry_delays_seconds=(2.0, 10.0, 30.0, 120.0, 600.0, 3600.0))
        if live
        else None,
        amount_limits={
            currency: AmountLimits(smallest_minor=smallest, largest_minor=_TERMS["largest"])
            for currency, smallest in _TERMS["smallest"].items()
        },
    )
