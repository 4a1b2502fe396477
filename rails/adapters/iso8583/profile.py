"""What the core knows of the acquirer: the figures of `terms.json`, and what its protocol promises."""

import json
from pathlib import Path
from typing import Any

from domain.rail import Flow
from rails.adapter import AmountLimits, RailPrice, RailProfile

_TERMS: dict[str, Any] = json.loads((Path(__file__).parent / "terms.json").read_text("utf-8"))
assert _TERMS["source"] and _TERMS["as_of"], "a table of terms names its source and date"

NUMERIC_CURRENCY: dict[str, str] = {currency: terms["numeric"] for currency, terms in _TERMS["prices"].items()}


def acquirer_profile(name: str, *, live: bool, not_located_final_after_seconds: int) -> RailProfile:
    """Return the profile of one acquirer.

    `not_located_final_after_seconds`: a reversal that far behind its order which the acquirer can't match means
    that the order never came and, the reversal being on file, never will.
    """
    return RailProfile(
        name=name,
        kind="card",
        flows=frozenset({Flow.AUTHORIZE, Flow.CAPTURE, Flow.VOID, Flow.REFUND}),
        prices={
            currency: RailPrice(basis_points=terms["basis_points"], fixed_minor=terms["fixed"])
            for currency, terms in _TERMS["prices"].items()
        },
        settlement_seconds=float(_TERMS["settlement_seconds"]),
        final_funds=False,
        idempotent=False,
        not_found_final_after_seconds=not_located_final_after_seconds,
        approval_prior=_TERMS["approval_prior"],
        sandbox=not live,
        amount_limits={currency: AmountLimits(largest_minor=_TERMS["largest"]) for currency in _TERMS["prices"]},
    )
