"""The ledger's rules once more, in the plainest Python there is: what the real one is compared with."""

import copy
import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from domain.ledger import Movement, Phase, Posting, RecordKind, RefusalCode


class Refused(Exception):
    """A posting is refused with this code."""

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class ModelAccount:
    """Credits less debits, what is pending, and the limits."""

    least: int | None
    most: int | None
    posted: int = 0
    pending_debits: int = 0
    pending_credits: int = 0
    history: list[int] = field(default_factory=list)


@dataclass(slots=True)
class BookModel:
    """Everything a posting can depend on, as dictionaries."""

    accounts: dict[str, ModelAccount] = field(default_factory=dict)
    movements: dict[str, Movement] = field(default_factory=dict)
    holds: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    records: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    refunds: dict[str, tuple[str, int]] = field(default_factory=dict)
    events: int = 0

    def post(self, posting: Posting) -> RefusalCode | None:
        """Apply a posting, or return why not and change nothing."""
        trial = copy.deepcopy(self)
        try:
            trial._apply(posting)
        except Refused as refused:
            return refused.code
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(trial, name))
        return None

    def _apply(self, posting: Posting) -> None:
        claim = posting.claim
        if claim is not None and self.keys.setdefault(claim.key, claim.object_id) != claim.object_id:
            raise Refused(RefusalCode.IDEMPOTENCY_KEY_TAKEN)
        for record in posting.records:
            if record.create_only and record.id in self.records:
                raise Refused(RefusalCode.ALREADY_EXISTS)
        if posting.refund_guard is not None:
            guard = posting.refund_guard
            _, charge = self.records.get(guard.charge_id, (0, {"amount_captured": 0}))
            used = sum(
                amount
                for refund, (of, amount) in self.refunds.items()
                if of == guard.charge_id and refund != guard.refund_id
            )
            if guard.charge_id not in self.records or used + guard.amount_minor > charge["amount_captured"]:
                raise Refused(RefusalCode.EXCEEDS_REFUNDABLE_AMOUNT)
        for opening in posting.accounts:
            self.accounts.setdefault(
                opening.code, ModelAccount(least=opening.min_balance_minor, most=opening.max_balance_minor)
            )
        for movement in posting.movements:
            self._move(movement)
        for record in posting.records:
            if record.version > self.records.get(record.id, (0, {}))[0]:
                self.records[record.id] = (record.version, record.document)
                if record.kind is RecordKind.REFUND:
                    self.refunds[record.id] = (record.document["charge"], record.document["amount"])
        self.events += len(posting.events)

    def _move(self, movement: Movement) -> None:
        earlier = self.movements.get(movement.key)
        if earlier is not None:
            if dataclasses.replace(earlier, amount_minor=movement.amount_minor) != movement:
                raise Refused(RefusalCode.EXISTS_WITH_DIFFERENT_FACTS)
            if earlier.amount_minor != movement.amount_minor:
                raise Refused(RefusalCode.EXISTS_WITH_DIFFERENT_AMOUNT)
            return
        debit, credit = (self.accounts.get(code) for code in (movement.debit_account, movement.credit_account))
        if debit is None or credit is None:
            raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
        self.movements[movement.key] = movement
        if movement.phase in (Phase.POST, Phase.HOLD):
            self._check_limits(movement, debit, credit)
            if movement.phase is Phase.HOLD:
                self.holds[movement.key] = (movement.debit_account, movement.credit_account, movement.amount_minor)
                debit.pending_debits += movement.amount_minor
                credit.pending_credits += movement.amount_minor
                return
        else:
            self._use_hold(movement, debit, credit)
        if movement.phase is not Phase.VOID_HOLD:
            debit.posted -= movement.amount_minor
            credit.posted += movement.amount_minor
            debit.history.append(debit.posted)
            credit.history.append(credit.posted)

    def _check_limits(self, movement: Movement, debit: ModelAccount, credit: ModelAccount) -> None:
        if movement.past_limits:
            return
        if debit.least is not None and debit.posted - debit.pending_debits - movement.amount_minor < debit.least:
            raise Refused(RefusalCode.EXCEEDS_AVAILABLE_BALANCE)
        if credit.most is not None and credit.posted + credit.pending_credits + movement.amount_minor > credit.most:
            raise Refused(RefusalCode.EXCEEDS_MAXIMUM_BALANCE)

    def _use_hold(self, movement: Movement, debit: ModelAccount, credit: ModelAccount) -> None:
        assert movement.hold_key is not None
        hold_debit, hold_credit, remaining = self.holds.get(movement.hold_key, ("", "", 0))
        if remaining == 0 or (hold_debit, hold_credit) != (movement.debit_account, movement.credit_account):
            raise Refused(RefusalCode.HOLD_NOT_FOUND)
        if movement.amount_minor > remaining:
            raise Refused(RefusalCode.EXCEEDS_HOLD)
        released = movement.amount_minor if movement.phase is Phase.POST_HOLD else remaining
        self.holds[movement.hold_key] = (hold_debit, hold_credit, remaining - released)
        debit.pending_debits -= released
        credit.pending_credits -= released


@dataclass(slots=True)
class ModelTransfer:
    """A transfer as the model knows it; `left` is what is still held."""

    source: str
    destination: str
    left: int = 0
    moved: int = 0
    expires: int | None = None
    reversed: bool = False


@dataclass(slots=True)
class TransferModel:
    """Transfers in one and two phases, reversals and terms, on a clock of its own.

    Each method changes the books and returns None, or changes nothing and returns why not.
    """

    accounts: dict[str, ModelAccount] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    transfers: dict[str, ModelTransfer] = field(default_factory=dict)
    quotes: dict[str, str] = field(default_factory=dict)
    converted: Counter[str] = field(default_factory=Counter)
    now: int = 0

    def open(self, account: str, least: int | None, most: int | None) -> None:
        """Open an account."""
        self.accounts[account] = ModelAccount(least=least, most=most)
        self.statuses[account] = "open"

    def _refusal(self, source: str, destination: str, amount: int) -> RefusalCode | None:
        debit, credit = self.accounts[source], self.accounts[destination]
        if self.statuses[source] != "open" or self.statuses[destination] != "open":
            return RefusalCode.ACCOUNT_CLOSED
        if debit.least is not None and debit.posted - debit.pending_debits - amount < debit.least:
            return RefusalCode.EXCEEDS_AVAILABLE_BALANCE
        if credit.most is not None and credit.posted + credit.pending_credits + amount > credit.most:
            return RefusalCode.EXCEEDS_MAXIMUM_BALANCE
        return None

    def _move(self, source: str, destination: str, amount: int) -> None:
        for account, signed in ((self.accounts[source], -amount), (self.accounts[destination], amount)):
            account.posted += signed
            account.history.append(account.posted)

    def _unhold(self, transfer: ModelTransfer, amount: int) -> None:
        transfer.left -= amount
        self.accounts[transfer.source].pending_debits -= amount
        self.accounts[transfer.destination].pending_credits -= amount

    def transfer(self, name: str, source: str, destination: str, amount: int) -> RefusalCode | None:
        """Move money at once."""
        refusal = self._refusal(source, destination, amount)
        if refusal is None:
            self.transfers[name] = ModelTransfer(source, destination, moved=amount)
            self._move(source, destination, amount)
        return refusal

    def hold(self, name: str, source: str, destination: str, amount: int, seconds: int) -> RefusalCode | None:
        """Set money aside."""
        refusal = self._refusal(source, destination, amount)
        if refusal is None:
            self.transfers[name] = ModelTransfer(source, destination, left=amount, expires=self.now + seconds)
            self.accounts[source].pending_debits += amount
            self.accounts[destination].pending_credits += amount
        return refusal

    def post_hold(self, name: str, amount: int, *, final: bool) -> RefusalCode | None:
        """Move money that was set aside; no limit can be in the way any more."""
        transfer = self.transfers[name]
        if self.statuses[transfer.source] != "open" or self.statuses[transfer.destination] != "open":
            return RefusalCode.ACCOUNT_CLOSED
        if transfer.left == 0:
            return RefusalCode.HOLD_NOT_FOUND
        if amount > transfer.left:
            return RefusalCode.EXCEEDS_HOLD
        transfer.moved += amount
        self._unhold(transfer, transfer.left if final else amount)
        self._move(transfer.source, transfer.destination, amount)
        return None

    def release(self, name: str) -> RefusalCode | None:
        """Give what is left back, whatever the accounts' status."""
        transfer = self.transfers[name]
        if transfer.left == 0:
            return RefusalCode.HOLD_NOT_FOUND
        self._unhold(transfer, transfer.left)
        return None

    def due(self) -> list[str]:
        """Return the holds whose time is over."""
        return [name for name, one in self.transfers.items() if one.left and (one.expires or 0) <= self.now]

    def exchange(
        self, quote: str, sides: tuple[str, str], amounts: tuple[int, int], *, expired: bool
    ) -> RefusalCode | None:
        """Sell for one account and buy for the other, out of and into what was converted, once a quote."""
        if expired:
            return RefusalCode.FX_QUOTE_EXPIRED
        if quote in self.quotes:
            return RefusalCode.EXISTS_WITH_DIFFERENT_FACTS
        for account, signed in zip(sides, (-amounts[0], amounts[1]), strict=True):
            refusal = self._refusal_of_one(account, signed)
            if refusal is not None:
                return refusal
        self.quotes[quote] = "used"
        for account, signed in zip(sides, (-amounts[0], amounts[1]), strict=True):
            self.accounts[account].posted += signed
            self.accounts[account].history.append(self.accounts[account].posted)
        self.converted["EUR"] += amounts[0]
        self.converted["USD"] -= amounts[1]
        return None

    def _refusal_of_one(self, account: str, signed: int) -> RefusalCode | None:
        one = self.accounts[account]
        if self.statuses[account] != "open":
            return RefusalCode.ACCOUNT_CLOSED
        if signed < 0 and one.least is not None and one.posted - one.pending_debits + signed < one.least:
            return RefusalCode.EXCEEDS_AVAILABLE_BALANCE
        if signed > 0 and one.most is not None and one.posted + one.pending_credits + signed > one.most:
            return RefusalCode.EXCEEDS_MAXIMUM_BALANCE
        return None

    def reverse(self, name: str) -> RefusalCode | None:
        """Move back what a transfer moved, once."""
        transfer = self.transfers[name]
        if transfer.reversed:
            return RefusalCode.EXISTS_WITH_DIFFERENT_FACTS
        refusal = self._refusal(transfer.destination, transfer.source, transfer.moved)
        if refusal is None:
            transfer.reversed = True
            self._move(transfer.destination, transfer.source, transfer.moved)
        return refusal

    def change(self, account: str, status: str, least: int | None, most: int | None) -> RefusalCode | None:
        """Set new terms."""
        one = self.accounts[account]
        if self.statuses[account] == "closed":
            return RefusalCode.ACCOUNT_CLOSED
        if status == "closed" and (one.posted or one.pending_debits or one.pending_credits):
            return RefusalCode.ACCOUNT_NOT_EMPTY
        if least is not None and least != one.least and one.posted - one.pending_debits < least:
            return RefusalCode.BALANCE_BELOW_MINIMUM
        if most is not None and most != one.most and one.posted + one.pending_credits > most:
            return RefusalCode.BALANCE_ABOVE_MAXIMUM
        one.least, one.most, self.statuses[account] = least, most, status
        return None
