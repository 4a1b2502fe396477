"""The posting rules: what each fact about money means in debits and credits. Pure.

One rule a fact. Movement keys are derived from the object, so a fact stated twice moves money once.
Worked example: a charge of 84.20 EUR captured with a fee of 1.58 is (1) debit rail_clearing 84.20 /
credit merchant 84.20, (2) debit merchant 1.58 / credit fee_revenue 1.58.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from domain import facts
from domain.drift_facts import Pot
from domain.identifiers import Mode, account_code
from domain.ledger import AccountOpening, Movement, Phase
from ledger import chart


@dataclass(frozen=True, slots=True)
class _Book:
    """The part of the chart a fact of one merchant, mode and currency can reach."""

    merchant_id: str
    mode: Mode
    currency: str
    reference: str

    def owned(self, account: str) -> str:
        return account_code(self.merchant_id, self.mode, account)

    def clearing(self, rail: str) -> str:
        return chart.rail_clearing(rail, self.currency, self.mode)

    def in_transit(self, rail: str) -> str:
        return chart.payouts_in_transit(rail, self.currency, self.mode)

    def conversion(self) -> str:
        return chart.fx_conversion(self.currency, self.mode)

    def suspense(self) -> str:
        return chart.suspense(self.currency, self.mode)

    def fees(self) -> str:
        return chart.fee_revenue(self.currency, self.mode)

    def rail_cost(self, rail: str) -> str:
        return chart.rail_cost(rail, self.currency, self.mode)

    def signed(
        self, part: str, kind: str, debit: str, credit: str, amount_minor: int, *, key_of: str | None = None
    ) -> Movement:
        """Move an amount that may be negative, then the other way; past limits, it corrects what was taken."""
        if amount_minor < 0:
            debit, credit = credit, debit
        return self.movement(part, kind, debit, credit, abs(amount_minor), past_limits=True, key_of=key_of)

    def movement(
        self,
        part: str,
        kind: str,
        debit: str,
        credit: str,
        amount_minor: int,
        *,
        phase: Phase = Phase.POST,
        hold: str | None = None,
        effective_at: datetime | None = None,
        past_limits: bool = False,
        key_of: str | None = None,
        floor_minor: int | None = None,
    ) -> Movement:
        return Movement(
            key=f"{key_of or self.reference}:{part}",
            debit_account=debit,
            credit_account=credit,
            amount_minor=amount_minor,
            currency=self.currency,
            kind=kind,
            reference=self.reference,
            phase=phase,
            hold_key=f"{self.reference}:{hold}" if hold else None,
            effective_at=effective_at,
            past_limits=past_limits,
            floor_minor=floor_minor,
        )


def movements_of(fact: facts.Fact, *, merchant_id: str, mode: Mode) -> tuple[Movement, ...]:
    """Return the movements a fact stands for, in the order they are posted.

    Deterministic: the same fact gives the same keys, so posting it twice moves money once.
    """
    reference, rule = _RULES[type(fact)]
    currency = fact.sell_currency if isinstance(fact, facts.CurrencyExchanged) else fact.currency
    book = _Book(merchant_id, mode, currency, getattr(fact, reference))
    return tuple(rule(book, fact))


def openings_of(fact: facts.Fact, *, merchant_id: str, mode: Mode) -> tuple[AccountOpening, ...]:
    """Return the accounts of a fact that are opened on first use: the ledger's own and default ones."""
    currencies = {
        code: movement.currency
        for movement in movements_of(fact, merchant_id=merchant_id, mode=mode)
        for code in (movement.debit_account, movement.credit_account)
    }
    openings = (
        chart.opening_of(code, currency, merchant_id=merchant_id, mode=mode) for code, currency in currencies.items()
    )
    return tuple(opening for opening in openings if opening is not None)


def _charge_authorized(book: _Book, fact: facts.ChargeAuthorized) -> Iterable[Movement]:
    clearing, account = book.clearing(fact.rail), book.owned(fact.account)
    yield book.movement("hold", "charge_hold", clearing, account, fact.amount_minor, phase=Phase.HOLD)


def _charge_captured(book: _Book, fact: facts.ChargeCaptured) -> Iterable[Movement]:
    part = f"capture-{fact.capture}"
    phase = Phase.POST
    if fact.held:
        phase = Phase.POST_HOLD_FINAL if fact.final else Phase.POST_HOLD
    account = book.owned(fact.account)
    yield book.movement(
        f"{part}:gross",
        "charge_capture",
        book.clearing(fact.rail),
        account,
        fact.amount_minor,
        phase=phase,
        hold="hold" if fact.held else None,
    )
    if fact.fee_minor:
        # Past limits: a merchant in debt after a chargeback still takes charges (semantics rule 19).
        yield book.movement(f"{part}:fee", "charge_fee", account, book.fees(), fact.fee_minor, past_limits=True)


def _charge_released(book: _Book, fact: facts.ChargeReleased) -> Iterable[Movement]:
    clearing, account = book.clearing(fact.rail), book.owned(fact.account)
    yield book.movement(
        "release", "charge_release", clearing, account, fact.amount_minor, phase=Phase.VOID_HOLD, hold="hold"
    )


def _refund_reserved(book: _Book, fact: facts.RefundReserved) -> Iterable[Movement]:
    account, clearing = book.owned(fact.account), book.clearing(fact.rail)
    yield book.movement(
        "hold",
        "refund_hold",
        account,
        clearing,
        fact.amount_minor,
        phase=Phase.HOLD,
        floor_minor=fact.floor_minor,
    )


def _refund_succeeded(book: _Book, fact: facts.RefundSucceeded) -> Iterable[Movement]:
    account, clearing = book.owned(fact.account), book.clearing(fact.rail)
    yield book.movement(
        "post", "refund", account, clearing, fact.amount_minor, phase=Phase.POST_HOLD_FINAL, hold="hold"
    )


def _refund_failed(book: _Book, fact: facts.RefundFailed) -> Iterable[Movement]:
    account, clearing = book.owned(fact.account), book.clearing(fact.rail)
    yield book.movement(
        "release", "refund_release", account, clearing, fact.amount_minor, phase=Phase.VOID_HOLD, hold="hold"
    )


def _refund_reversed(book: _Book, fact: facts.RefundReversed) -> Iterable[Movement]:
    back_to = book.suspense() if fact.to_suspense else book.owned(fact.account)
    yield book.movement(
        "reversal", "refund_reversal", book.clearing(fact.rail), back_to, fact.amount_minor, past_limits=True
    )


def _refund_fee_returned(book: _Book, fact: facts.RefundFeeReturned) -> Iterable[Movement]:
    # Its key is the charge's, so that of two refunds which computed the same share one is refused.
    part, account = f"fee-return-{fact.sequence}", book.owned(fact.account)
    yield book.signed(part, "refund_fee_return", book.fees(), account, fact.difference_minor, key_of=fact.charge_id)


def _charge_settled(book: _Book, fact: facts.ChargeSettled) -> Iterable[Movement]:
    if fact.rail_fee_minor:
        part = f"settlement-{fact.settlement}:cost"
        cost, clearing = book.rail_cost(fact.rail), book.clearing(fact.rail)
        yield book.signed(part, "rail_cost", cost, clearing, fact.rail_fee_minor)


def _fee_true_up(book: _Book, fact: facts.FeeTrueUp) -> Iterable[Movement]:
    account = book.suspense() if fact.to_suspense else book.owned(fact.account)
    yield book.signed(
        f"settlement-{fact.settlement}:true-up", "fee_true_up", account, book.fees(), fact.difference_minor
    )


def _payout_started(book: _Book, fact: facts.PayoutStarted) -> Iterable[Movement]:
    # Never below zero, whatever the account allows itself: a debt blocks payouts (semantics rule 19).
    account, transit = book.owned(fact.account), book.in_transit(fact.rail)
    yield book.movement("start", "payout", account, transit, fact.amount_minor, floor_minor=0)


def _payout_paid(book: _Book, fact: facts.PayoutPaid) -> Iterable[Movement]:
    yield book.movement("paid", "payout_paid", book.in_transit(fact.rail), book.clearing(fact.rail), fact.amount_minor)


def _payout_rerouted(book: _Book, fact: facts.PayoutRerouted) -> Iterable[Movement]:
    part = f"reroute{fact.attempt_number}"
    yield book.movement(
        part, "payout_reroute", book.in_transit(fact.from_rail), book.in_transit(fact.rail), fact.amount_minor
    )


def _payout_failed(book: _Book, fact: facts.PayoutFailed) -> Iterable[Movement]:
    yield book.movement(
        "failed", "payout_failed", book.in_transit(fact.rail), book.owned(fact.account), fact.amount_minor
    )


def _payout_returned(book: _Book, fact: facts.PayoutReturned) -> Iterable[Movement]:
    # Past limits: the money is here, whatever the account's maximum or a freeze would say.
    back_to = book.suspense() if fact.to_suspense else book.owned(fact.account)
    yield book.movement(
        "returned", "payout_returned", book.clearing(fact.rail), back_to, fact.amount_minor, past_limits=True
    )


def _transfer_made(book: _Book, fact: facts.TransferMade) -> Iterable[Movement]:
    source, destination = book.owned(fact.source), book.owned(fact.destination)
    yield book.movement("post", "transfer", source, destination, fact.amount_minor, effective_at=fact.effective_at)


def _transfer_held(book: _Book, fact: facts.TransferHeld) -> Iterable[Movement]:
    source, destination = book.owned(fact.source), book.owned(fact.destination)
    yield book.movement("hold", "transfer_hold", source, destination, fact.amount_minor, phase=Phase.HOLD)


def _transfer_posted(book: _Book, fact: facts.TransferPosted) -> Iterable[Movement]:
    yield book.movement(
        f"post-{fact.post}",
        "transfer",
        book.owned(fact.source),
        book.owned(fact.destination),
        fact.amount_minor,
        phase=Phase.POST_HOLD_FINAL if fact.final else Phase.POST_HOLD,
        hold="hold",
        effective_at=fact.effective_at,
    )


def _transfer_released(book: _Book, fact: facts.TransferReleased) -> Iterable[Movement]:
    source, destination = book.owned(fact.source), book.owned(fact.destination)
    yield book.movement(
        "release", "transfer_release", source, destination, fact.amount_minor, phase=Phase.VOID_HOLD, hold="hold"
    )


def _transfer_reversed(book: _Book, fact: facts.TransferReversed) -> Iterable[Movement]:
    source, destination = book.owned(fact.source), book.owned(fact.destination)
    movement = book.movement(
        "reversal", "transfer_reversal", source, destination, fact.amount_minor, effective_at=fact.effective_at
    )
    # Its key is the undone transfer's, so that there is one; it refers to the transfer that it is.
    yield replace(movement, reference=fact.reversal_id)


def _currency_exchanged(book: _Book, fact: facts.CurrencyExchanged) -> Iterable[Movement]:
    # 100.00 EUR become 108.40 USD: debit source 100.00 / credit fx_conversion:EUR 100.00, then debit
    # fx_conversion:USD 108.40 / credit destination 108.40. Each currency sums to zero by itself.
    bought, quote, at = replace(book, currency=fact.buy_currency), fact.quote_id, fact.effective_at
    source, destination = book.owned(fact.source), book.owned(fact.destination)
    yield book.movement(
        "sell", "fx_sell", source, book.conversion(), fact.sell_amount_minor, effective_at=at, key_of=quote
    )
    yield bought.movement(
        "buy", "fx_buy", bought.conversion(), destination, fact.buy_amount_minor, effective_at=at, key_of=quote
    )


def _account_funded(book: _Book, fact: facts.AccountFunded) -> Iterable[Movement]:
    source = chart.sandbox_funding(book.currency, book.mode)
    yield book.movement("post", "funding", source, book.owned(fact.account), fact.amount_minor)


def _chargeback_received(book: _Book, fact: facts.ChargebackReceived) -> Iterable[Movement]:
    account = book.suspense() if fact.to_suspense else book.owned(fact.account)
    clearing = book.clearing(fact.rail)
    yield book.movement("chargeback", "chargeback", account, clearing, fact.amount_minor, past_limits=True)
    if fact.fee_minor:
        yield book.movement("fee", "dispute_fee", account, book.fees(), fact.fee_minor, past_limits=True)


def _orphan_received(book: _Book, fact: facts.OrphanReceived) -> Iterable[Movement]:
    phase = Phase.POST if fact.taken else Phase.HOLD
    yield book.movement("received", "orphan", book.clearing(fact.rail), book.suspense(), fact.amount_minor, phase=phase)


def _orphan_reversed(book: _Book, fact: facts.OrphanReversed) -> Iterable[Movement]:
    clearing, suspense, amount = book.clearing(fact.rail), book.suspense(), fact.amount_minor
    if fact.taken:
        yield book.movement("reversed", "orphan_reversal", suspense, clearing, amount)
    else:
        yield book.movement(
            "reversed", "orphan_release", clearing, suspense, amount, phase=Phase.VOID_HOLD, hold="received"
        )


def _dispute_won(book: _Book, fact: facts.DisputeWon) -> Iterable[Movement]:
    account = book.suspense() if fact.to_suspense else book.owned(fact.account)
    clearing = book.clearing(fact.rail)
    yield book.movement("reinstated", "dispute_reinstated", clearing, account, fact.amount_minor, past_limits=True)
    if fact.fee_returned_minor:
        fee = fact.fee_returned_minor
        yield book.movement("fee-returned", "dispute_fee_returned", book.fees(), account, fee, past_limits=True)


def _rail_remitted(book: _Book, fact: facts.RailRemitted) -> Iterable[Movement]:
    bank, clearing = chart.safeguarding(fact.bank, book.currency, book.mode), book.clearing(fact.rail)
    yield book.signed("remitted", "rail_remittance", bank, clearing, fact.amount_minor)


def _rail_adjusted(book: _Book, fact: facts.RailAdjusted) -> Iterable[Movement]:
    # A rail that owes 0.02 more than the books said has cost us 0.02 less.
    owed = book.suspense() if fact.from_suspense else book.clearing(fact.rail)
    yield book.signed("adjusted", "rail_adjustment", owed, book.rail_cost(fact.rail), fact.amount_minor)


def _drift_credited(book: _Book, fact: facts.DriftCredited) -> Iterable[Movement]:
    pots = {
        Pot.RAIL: book.clearing(fact.party),
        Pot.SUSPENSE: book.suspense(),
        Pot.BANK: chart.safeguarding(fact.party, book.currency, book.mode),
    }
    yield book.movement("credited", "drift_credit", pots[fact.source], book.owned(fact.account), fact.amount_minor)


_Rule = Callable[[_Book, Any], Iterable[Movement]]
_RULES: dict[type, tuple[str, _Rule]] = {
    facts.ChargeAuthorized: ("charge_id", _charge_authorized),
    facts.ChargeCaptured: ("charge_id", _charge_captured),
    facts.ChargeReleased: ("charge_id", _charge_released),
    facts.RefundReserved: ("refund_id", _refund_reserved),
    facts.RefundSucceeded: ("refund_id", _refund_succeeded),
    facts.RefundFailed: ("refund_id", _refund_failed),
    facts.RefundReversed: ("refund_id", _refund_reversed),
    facts.RefundFeeReturned: ("refund_id", _refund_fee_returned),
    facts.ChargeSettled: ("charge_id", _charge_settled),
    facts.FeeTrueUp: ("charge_id", _fee_true_up),
    facts.PayoutStarted: ("payout_id", _payout_started),
    facts.PayoutPaid: ("payout_id", _payout_paid),
    facts.PayoutRerouted: ("payout_id", _payout_rerouted),
    facts.PayoutFailed: ("payout_id", _payout_failed),
    facts.PayoutReturned: ("payout_id", _payout_returned),
    facts.TransferMade: ("transfer_id", _transfer_made),
    facts.TransferHeld: ("transfer_id", _transfer_held),
    facts.TransferPosted: ("transfer_id", _transfer_posted),
    facts.TransferReleased: ("transfer_id", _transfer_released),
    facts.TransferReversed: ("transfer_id", _transfer_reversed),
    facts.CurrencyExchanged: ("transfer_id", _currency_exchanged),
    facts.AccountFunded: ("transfer_id", _account_funded),
    facts.ChargebackReceived: ("dispute_id", _chargeback_received),
    facts.OrphanReceived: ("orphan_id", _orphan_received),
    facts.OrphanReversed: ("orphan_id", _orphan_reversed),
    facts.DisputeWon: ("dispute_id", _dispute_won),
    facts.RailRemitted: ("remittance_id", _rail_remitted),
    facts.RailAdjusted: ("drift_id", _rail_adjusted),
    facts.DriftCredited: ("drift_id", _drift_credited),
}
"""The field that names the object, and the rule, for every fact there is (a test counts them)."""
