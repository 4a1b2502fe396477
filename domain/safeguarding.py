"""Safeguarding: what is owed to customers, what banks keep for them, and what a comparison of the two is called.

Decides which balances count and which root cause a machine may propose. Reads nothing: `ledger/safeguarded.py` has
the figures, `domain/safeguarding_breaks.py` what becomes of a difference.
Source: FCA Handbook CASS 15.8 (records, accounts and reconciliations), see docs/safeguarding.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode
from domain.timestamps import rfc3339

Document = dict[str, Any]

NOT_OWED = frozenset({"rail_clearing", "safeguarding", "fee_revenue", "rail_cost", "fx_conversion", "sandbox_funding"})
"""Roles of the ledger's own accounts whose money is not a customer's. Any other role counts as owed: a new one is
too much safeguarded rather than too little until somebody decides."""


ALERT_SCOPE = "SAFEGUARDING:"
"""What the scope of an alert about breaks begins with; the currency follows."""


BOOKS_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""No book is older, so nothing is reconciled or stated as of earlier."""


class Finding(StrEnum):
    """What a comparison came to. SHORTFALL: less is kept than should be; EXCESS: more."""

    MATCHED = "matched"
    SHORTFALL = "shortfall"
    EXCESS = "excess"
    NO_STATEMENT = "no_statement"


GRAVITY = (Finding.SHORTFALL, Finding.EXCESS, Finding.NO_STATEMENT, Finding.MATCHED)
"""The worst first: what several comparisons come to together."""


class RootCause(StrEnum):
    """Why there is a difference. The first seven may be proposed by the machine; a person states any."""

    UNEXPLAINED = "unexplained"
    UNREMITTED_FUNDS = "unremitted_funds"
    CUSTOMER_DEBTS = "customer_debts"
    SANDBOX_MONEY = "sandbox_money"
    OWN_FEES = "own_fees"
    UNBOOKED_BANK_LINE = "unbooked_bank_line"
    TIMING = "timing"
    BANK_CHARGE = "bank_charge"
    MISDIRECTED_RECEIPT = "misdirected_receipt"
    BOOKING_ERROR = "booking_error"
    STATEMENT_ERROR = "statement_error"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSum:
    """Accounts of one kind at an instant: the sums of their positive and of their negative balances, minor units.

    `owned`: they are merchants' and customers', counted one by one. `detail` is the rail or bank of the ledger's
    own ones. Balances are credits minus debits, so what a bank keeps and what a rail owes are negative.
    """

    mode: Mode
    currency: str
    owned: bool
    kind: str
    detail: str
    positive_minor: int
    negative_minor: int
    accounts: int

    @property
    def net_minor(self) -> int:
        """Credits less debits of all of them."""
        return self.positive_minor + self.negative_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class BankComparison:
    """What the books and a bank's statement say was on an account at the statement's instant, in minor units.

    Without a statement `books_minor` is of the reconciliation's own instant. `line_of_difference`: the statement
    has a line of exactly the difference.
    """

    bank: str
    account: str
    books_minor: int
    books_at: datetime
    statement: str | None = None
    statement_id: str | None = None
    closing_minor: int | None = None
    line_of_difference: bool = False

    @property
    def difference_minor(self) -> int | None:
        """Statement less books; None without a statement."""
        return None if self.closing_minor is None else self.closing_minor - self.books_minor

    @property
    def finding(self) -> Finding:
        """What the comparison came to."""
        difference = self.difference_minor
        return Finding.NO_STATEMENT if difference is None else finding_of(difference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One currency of one mode at an instant.

    Worked example: customers have 100.00, 50.00 and -30.00, 20.00 are in transit to a payee, the bank keeps 160.00.
    The requirement is 170.00 (the debt of 30.00 reduces nothing), the resource 160.00, the difference -10.00.
    """

    mode: Mode
    currency: str
    at: datetime
    sums: tuple[AccountSum, ...]
    banks: tuple[BankComparison, ...]

    @property
    def requirement_minor(self) -> int:
        """What is owed: the positive balances of customers, merchants, payouts in transit and suspense."""
        return sum(one.positive_minor for one in self.sums if is_owed(one))

    @property
    def resource_minor(self) -> int:
        """What the banks keep by our own books; an overdrawn bank account takes from it."""
        return -sum(one.net_minor for one in self.sums if _is_system(one, "safeguarding"))

    @property
    def difference_minor(self) -> int:
        """Resource less requirement."""
        return self.resource_minor - self.requirement_minor

    @property
    def internal(self) -> Finding:
        """Books against books."""
        return finding_of(self.difference_minor)

    @property
    def external(self) -> Finding:
        """Books against the banks' statements, the worst of all accounts."""
        if not self.banks:
            return Finding.NO_STATEMENT if self.requirement_minor else Finding.MATCHED
        return worst(one.finding for one in self.banks)


def is_owed(one: AccountSum) -> bool:
    """Tell whether positive balances of these accounts are money to be safeguarded."""
    return one.owned or one.kind not in NOT_OWED


def finding_of(difference_minor: int) -> Finding:
    """Return what a difference is; there is no tolerance, one minor unit is one."""
    if difference_minor == 0:
        return Finding.MATCHED
    return Finding.SHORTFALL if difference_minor < 0 else Finding.EXCESS


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the gravest of several findings."""
    return min(findings, key=GRAVITY.index)


def propose_internal_cause(position: Position) -> RootCause | None:
    """Return what could explain an internal difference; None if nothing could.

    A shortfall of 84.20 where rails owe 84.20 or more is `unremitted_funds`. Where no cause covers it alone but all
    together do, it is the largest: of 100.00, with 80.00 owed by rails and 30.00 of customers' debts, the rails.
    An excess of 1.58 where fees of 1.58 or more were earned is `own_fees`: ours, and still among customers' money.
    """
    difference = position.difference_minor
    if difference > 0:
        earned = sum(one.net_minor for one in position.sums if one.kind in ("fee_revenue", "rail_cost"))
        return RootCause.OWN_FEES if earned >= difference else None
    if difference == 0:
        return None
    covers = {
        RootCause.UNREMITTED_FUNDS: -sum(
            one.negative_minor for one in position.sums if _is_system(one, "rail_clearing")
        ),
        RootCause.CUSTOMER_DEBTS: -sum(one.negative_minor for one in position.sums if one.owned),
        RootCause.SANDBOX_MONEY: -sum(
            one.negative_minor for one in position.sums if _is_system(one, "sandbox_funding")
        ),
    }
    alone = next((cause for cause, minor in covers.items() if minor >= -difference), None)
    if alone is None and sum(covers.values()) >= -difference:
        return max(covers, key=lambda cause: covers[cause])
    return alone


def propose_external_cause(bank: BankComparison) -> RootCause | None:
    """Return `unbooked_bank_line` if the statement has a line of exactly the difference: the books lack it."""
    return RootCause.UNBOOKED_BANK_LINE if bank.line_of_difference else None


def stamp(at: datetime) -> str:
    """Return an instant as part of an id, which then sorts by it: `20261126t090000000000z`."""
    assert at >= BOOKS_BEGIN
    return at.astimezone(UTC).strftime("%Y%m%dt%H%M%S%fz")


def read_stamp(written: str) -> datetime:
    """Return the instant of a stamp."""
    return datetime.strptime(written, "%Y%m%dt%H%M%S%fz").replace(tzinfo=UTC)


def reconciliation_document(position: Position, day: str | None) -> Document:
    """Return a reconciliation as the API shows it: the same for the same instant, whenever it is made.

    `day`: the day whose fixed time the instant is (YYYY-MM-DD), None for a run that somebody asked for.
    """
    internal, external = position.internal, position.external
    return {
        "id": f"sfr_{stamp(position.at)}_{position.mode}_{position.currency.lower()}",
        "object": "safeguarding_reconciliation",
        "status": worst((internal, external)).value,
        "mode": position.mode.value,
        "currency": position.currency,
        "at": rfc3339(position.at),
        "day": day,
        "requirement": position.requirement_minor,
        "resource": position.resource_minor,
        "difference": position.difference_minor,
        "internal": internal.value,
        "external": external.value,
        "proposed_root_cause": propose_internal_cause(position),
        "parts": _parts(position.sums),
        "bank_accounts": [_bank_document(one) for one in position.banks],
        "created_at": rfc3339(position.at),
    }


def _bank_document(bank: BankComparison) -> Document:
    return {
        "bank": bank.bank,
        "account": bank.account,
        "status": bank.finding.value,
        "books": bank.books_minor,
        "books_at": rfc3339(bank.books_at),
        "statement": bank.statement,
        "statement_id": bank.statement_id,
        "closing_balance": bank.closing_minor,
        "difference": bank.difference_minor,
        "proposed_root_cause": propose_external_cause(bank),
    }


def _parts(sums: Sequence[AccountSum]) -> Document:
    owed = {"customer": 0, "merchant": 0, "payouts_in_transit": 0, "suspense": 0}
    not_counted = {"negative_balances": sum(one.negative_minor for one in sums if is_owed(one))}
    for one in sums:
        if is_owed(one):
            owed[one.kind] = owed.get(one.kind, 0) + one.positive_minor
        elif one.kind not in ("safeguarding", "rail_clearing"):
            not_counted[one.kind] = not_counted.get(one.kind, 0) + one.net_minor
    return {
        "owed": owed,
        "kept_by_banks": {one.detail: -one.net_minor for one in sums if _is_system(one, "safeguarding")},
        "owed_by_rails": {one.detail: -one.net_minor for one in sums if _is_system(one, "rail_clearing")},
        "not_counted": not_counted,
        "accounts": sum(one.accounts for one in sums if one.owned),
    }


def _is_system(one: AccountSum, role: str) -> bool:
    return not one.owned and one.kind == role
