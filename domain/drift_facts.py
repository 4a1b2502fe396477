"""Facts about what a rail and the books differ by, in the past tense; `domain.facts` names them with all others."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from domain.money import check_amount


class Pot(StrEnum):
    """Where the money stands that a drift is about: owed by a rail, in suspense, or at a bank."""

    RAIL = "rail"
    SUSPENSE = "suspense"
    BANK = "bank"


@dataclass(frozen=True, slots=True, kw_only=True)
class RailAdjusted:
    """What a rail owes us was brought in line with its word, and the difference is what it cost.

    `amount_minor`: what the rail owes more than the books said; negative: less, as with a fee it kept.
    `from_suspense`: the same about money in suspense: what is there becomes less, and the rail's cost with it.
    """

    fact: Literal["rail_adjusted"] = "rail_adjusted"
    drift_id: str
    rail: str
    amount_minor: int
    currency: str
    from_suspense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftCredited:
    """Money nobody had been credited with was found to be an account's. `party`: the rail, or the bank, that has it."""

    fact: Literal["drift_credited"] = "drift_credited"
    drift_id: str
    account: str
    source: Pot
    party: str
    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
