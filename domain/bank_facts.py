"""Facts about money at banks, in the past tense; `domain.facts` names them with all others."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RailRemitted:
    """A rail paid what it owed us to our account at a bank; negative: it took from there what we owed it.

    `remittance_id` names the payment for ever: one bank statement line, or the part of one that is this rail's.
    """

    fact: Literal["rail_remitted"] = "rail_remitted"
    remittance_id: str
    rail: str
    bank: str
    amount_minor: int
    currency: str
