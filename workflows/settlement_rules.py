"""What a settlement makes of a charge: final funds, the rail's cost, the fee trued up. Pure.

84.20 EUR captured at cost plus 1.00 %, the rail's cost estimated at 0.86: fee 1.70. The rail keeps 0.91:
the fee becomes 1.75, the difference of 0.05 is the true-up, and 0.91 is rail cost.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.facts import ChargeSettled, Fact, FeeTrueUp
from domain.identifiers import capture_tag
from domain.money import proportion_half_up
from domain.pricing import PricingModel
from domain.settlement import Settlement
from domain.timestamps import rfc3339

Document = dict[str, Any]


class SettlementVerdict(StrEnum):
    """What to do with a settlement. WAIT: the charge's own workflow may still learn of a capture, or make one."""

    WAIT = "wait"
    KNOWN = "known"
    APPLY = "apply"
    CONTRADICTS = "contradicts"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRuling:
    """The verdict; with APPLY the charge's next document, its event and facts, with CONTRADICTS why."""

    verdict: SettlementVerdict
    document: Document | None = None
    event: str | None = None
    facts: tuple[Fact, ...] = ()
    why: str = ""


def rule_on_settlement(settlement: Settlement, charge: Document, now: datetime) -> SettlementRuling:
    """Return what the settlement means for the charge as it is stored."""
    known: list[Document] = charge.get("settlements", [])
    if any(one["reference"] == settlement.reference for one in known):
        return SettlementRuling(verdict=SettlementVerdict.KNOWN)
    open_for_more = charge["status"] == "authorized" and charge["amount_captured"] > 0
    if open_for_more or charge["status"] in ("processing", "unknown", "requires_action"):
        return SettlementRuling(verdict=SettlementVerdict.WAIT)
    why = _contradiction(settlement, charge, known)
    if why is not None:
        return SettlementRuling(verdict=SettlementVerdict.CONTRADICTS, why=why)
    fee = actual_fee_minor(settlement, charge)
    line = {
        "reference": settlement.reference,
        "settled_at": rfc3339(settlement.settled_at or now),
        "rail_fee": settlement.rail_fee_minor,
        "fee_true_up": fee - charge["fee"],
    }
    settled: Document = {
        **charge,
        "status": "settled",
        "fee": fee,
        "net": charge["amount_captured"] - fee,
        "settlements": [*known, line],
    }
    event = "charge.settled" if charge["status"] == "captured" else "charge.fee_adjusted"
    facts = _facts(settlement, charge, fee - charge["fee"])
    return SettlementRuling(verdict=SettlementVerdict.APPLY, document=settled, event=event, facts=facts)


def actual_fee_minor(settlement: Settlement, charge: Document) -> int:
    """Return the merchant's fee now that the rail's is known.

    As reconciliation states it; at cost plus, what was taken with the actual cost in place of the
    estimated one; else what was taken. Never negative, never above what was captured.
    """
    captured: int = charge["amount_captured"]
    taken: int = charge["fee"]
    if settlement.fee_minor is not None:
        return min(settlement.fee_minor, captured)
    pricing = charge.get("pricing") or {}
    if pricing.get("model") != PricingModel.COST_PLUS or settlement.rail_fee_minor is None:
        return taken
    row = next(one for one in pricing["prices"] if one["rail"] == charge["rail"])
    estimated = proportion_half_up(row["cost_estimate"], captured, charge["amount"])
    return min(max(taken - estimated + settlement.rail_fee_minor, 0), captured)


def _contradiction(settlement: Settlement, charge: Document, known: list[Document]) -> str | None:
    if charge["status"] not in ("captured", "settled"):
        return f"the charge is {charge['status']}"
    if charge["rail"] != settlement.rail:
        return f"{charge['rail']} had taken it"
    if (charge["amount_captured"], charge["currency"]) != (settlement.gross_minor, settlement.currency):
        return f"{charge['amount_captured']} {charge['currency']} were captured, it settles {settlement.gross_minor}"
    if known and settlement.fee_minor is None:
        return f"{known[-1]['reference']} had settled it"
    return None


def _facts(settlement: Settlement, charge: Document, true_up_minor: int) -> tuple[Fact, ...]:
    tag = capture_tag(settlement.reference)
    facts: list[Fact] = []
    if settlement.rail_fee_minor is not None:
        facts.append(
            ChargeSettled(
                charge_id=charge["id"],
                rail=settlement.rail,
                settlement=tag,
                rail_fee_minor=settlement.rail_fee_minor,
                currency=settlement.currency,
            )
        )
    if true_up_minor:
        facts.append(
            FeeTrueUp(
                charge_id=charge["id"],
                account=charge["account"],
                settlement=tag,
                difference_minor=true_up_minor,
                currency=settlement.currency,
            )
        )
    return tuple(facts)
