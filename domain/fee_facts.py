"""Facts about fees and what rails cost, in the past tense; `domain.facts` names them with all others."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFeeReturned:
    """The part of a charge's fee that is back with the merchant changed by `difference_minor`, which may be negative.

    `sequence` numbers the changes of one charge: two that were computed from the same standing can't both post.
    """

    fact: Literal["refund_fee_returned"] = "refund_fee_returned"
    refund_id: str
    charge_id: str
    account: str
    sequence: int
    difference_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeSettled:
    """The rail's settlement of a charge is known: it keeps `rail_fee_minor` of what it owes us.

    Negative: it pays us more than the charge (a rebate). `settlement` names it within the charge.
    """

    fact: Literal["charge_settled"] = "charge_settled"
    charge_id: str
    rail: str
    settlement: str
    rail_fee_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeTrueUp:
    """A charge's actual fee differs from the one taken with its capture; negative: the merchant gets some back."""

    fact: Literal["fee_true_up"] = "fee_true_up"
    charge_id: str
    account: str
    settlement: str
    difference_minor: int
    currency: str
    to_suspense: bool = False
