"""Facts about money, in the past tense. `ledger/posting_rules.py` turns each into movements.

Accounts are public ids of the merchant's accounts; the rules find the ledger's own accounts.
Every amount is in minor units of `currency`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.bank_facts import RailRemitted as RailRemitted
from domain.drift_facts import DriftCredited as DriftCredited
from domain.drift_facts import RailAdjusted as RailAdjusted
from domain.fee_facts import ChargeSettled as ChargeSettled
from domain.fee_facts import FeeTrueUp as FeeTrueUp
from domain.fee_facts import RefundFeeReturned as RefundFeeReturned


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeAuthorized:
    """A rail promised money for a charge: held for the merchant, not spendable."""

    fact: Literal["charge_authorized"] = "charge_authorized"
    charge_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeCaptured:
    """A rail took money for a charge. `held`: it had been authorized before.

    `final`: what is left of the hold is released. `fee_minor` is this capture's own fee. `capture` names
    it within the charge: `sale`, or the tag of its idempotency key.
    """

    fact: Literal["charge_captured"] = "charge_captured"
    charge_id: str
    account: str
    rail: str
    amount_minor: int
    fee_minor: int
    currency: str
    capture: str = "sale"
    held: bool = False
    final: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeReleased:
    """An authorization ended without (further) capture: voided or expired."""

    fact: Literal["charge_released"] = "charge_released"
    charge_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundReserved:
    """Money for a refund was set aside before the rail is asked.

    `floor_minor`: the least balance this may leave, below the account's own minimum; None for that one.
    """

    fact: Literal["refund_reserved"] = "refund_reserved"
    refund_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str
    floor_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundSucceeded:
    """The rail gave the money back to the cardholder."""

    fact: Literal["refund_succeeded"] = "refund_succeeded"
    refund_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFailed:
    """A definite no to a refund: what was set aside is the merchant's again."""

    fact: Literal["refund_failed"] = "refund_failed"
    refund_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundReversed:
    """A refund the rail had carried out came back (the cardholder's account is closed).

    Never sent elsewhere by itself: the money is the merchant's again. `to_suspense`: its account is closed.
    """

    fact: Literal["refund_reversed"] = "refund_reversed"
    refund_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str
    to_suspense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutStarted:
    """Money left the account and is in transit on a rail."""

    fact: Literal["payout_started"] = "payout_started"
    payout_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutPaid:
    """The rail paid the beneficiary."""

    fact: Literal["payout_paid"] = "payout_paid"
    payout_id: str
    rail: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutRerouted:
    """A definite no of one rail; the money in transit moves on to the next rail of the plan."""

    fact: Literal["payout_rerouted"] = "payout_rerouted"
    payout_id: str
    attempt_number: int
    from_rail: str
    rail: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutFailed:
    """A definite no, after which the money in transit is the account's again."""

    fact: Literal["payout_failed"] = "payout_failed"
    payout_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutReturned:
    """A paid payout came back from the beneficiary's bank. `to_suspense`: its account is closed."""

    fact: Literal["payout_returned"] = "payout_returned"
    payout_id: str
    account: str
    rail: str
    amount_minor: int
    currency: str
    to_suspense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferMade:
    """Money moved between two accounts of one merchant."""

    fact: Literal["transfer_made"] = "transfer_made"
    transfer_id: str
    source: str
    destination: str
    amount_minor: int
    currency: str
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferHeld:
    """Money was set aside for a transfer in two phases; limits are checked here and not again."""

    fact: Literal["transfer_held"] = "transfer_held"
    transfer_id: str
    source: str
    destination: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPosted:
    """Money that was set aside moved, all of it or a part.

    `final`: what is left of the hold is released. `post` names the part within the transfer: the tag of
    its idempotency key.
    """

    fact: Literal["transfer_posted"] = "transfer_posted"
    transfer_id: str
    source: str
    destination: str
    amount_minor: int
    currency: str
    post: str
    final: bool = True
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReleased:
    """What was still set aside is the source's again: voided or expired. `amount_minor` is that rest."""

    fact: Literal["transfer_released"] = "transfer_released"
    transfer_id: str
    source: str
    destination: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReversed:
    """Money of a settled transfer went back; `source` and `destination` are those of the way back.

    `transfer_id` is the transfer undone and names the movement, so that it happens at most once;
    `reversal_id` is the transfer that undoes it.
    """

    fact: Literal["transfer_reversed"] = "transfer_reversed"
    transfer_id: str
    reversal_id: str
    source: str
    destination: str
    amount_minor: int
    currency: str
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyExchanged:
    """Money of one account became money of another currency on another, at a quoted rate.

    Two movements, one in each currency. Their keys are the quote's, so that a quote moves money once,
    whichever transfer states it; their reference is the transfer's, so that a second transfer is
    refused (other facts under a known key) instead of being taken for a repetition.
    """

    fact: Literal["currency_exchanged"] = "currency_exchanged"
    transfer_id: str
    quote_id: str
    source: str
    destination: str
    sell_amount_minor: int
    sell_currency: str
    buy_amount_minor: int
    buy_currency: str
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFunded:
    """Sandbox money was put on an account (test mode only)."""

    fact: Literal["account_funded"] = "account_funded"
    transfer_id: str
    account: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargebackReceived:
    """The cardholder's bank took money of a charge back; posts even past the account's limit.

    `to_suspense`: the account is closed, so the loss waits there for a person.
    """

    fact: Literal["chargeback_received"] = "chargeback_received"
    dispute_id: str
    account: str
    rail: str
    amount_minor: int
    fee_minor: int
    currency: str
    to_suspense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeWon:
    """The cardholder's bank gave the money of a chargeback back; `fee_returned_minor` of its fee with it."""

    fact: Literal["dispute_won"] = "dispute_won"
    dispute_id: str
    account: str
    rail: str
    amount_minor: int
    fee_returned_minor: int
    currency: str
    to_suspense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanReceived:
    """A rail took (`taken`) or promised money for a charge that had ended without it."""

    fact: Literal["orphan_received"] = "orphan_received"
    orphan_id: str
    rail: str
    amount_minor: int
    currency: str
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanReversed:
    """The rail gave an orphan back."""

    fact: Literal["orphan_reversed"] = "orphan_reversed"
    orphan_id: str
    rail: str
    amount_minor: int
    currency: str
    taken: bool


Fact = (
    ChargeAuthorized
    | ChargeCaptured
    | ChargeReleased
    | RefundReserved
    | RefundSucceeded
    | RefundFailed
    | RefundReversed
    | RefundFeeReturned
    | ChargeSettled
    | FeeTrueUp
    | PayoutStarted
    | PayoutPaid
    | PayoutRerouted
    | PayoutFailed
    | PayoutReturned
    | TransferMade
    | TransferHeld
    | TransferPosted
    | TransferReleased
    | TransferReversed
    | CurrencyExchanged
    | AccountFunded
    | ChargebackReceived
    | OrphanReceived
    | OrphanReversed
    | DisputeWon
    | RailRemitted
    | RailAdjusted
    | DriftCredited
)
