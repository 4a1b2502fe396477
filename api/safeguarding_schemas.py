"""What the documentation shows of safeguarding, and the bodies its routes take."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from api.bodies import Currency, FreeText, Instant, WriteRequest
from api.documenting import Shown
from domain.money import AMOUNT_MINOR_MAX

BANK = r"^[a-z0-9][a-z0-9_-]{0,39}$"
Finding = Literal["matched", "shortfall", "excess", "no_statement"]
ModeName = Literal["test", "live"]
StatedCause = Literal[
    "unremitted_funds",
    "customer_debts",
    "sandbox_money",
    "own_fees",
    "unbooked_bank_line",
    "timing",
    "bank_charge",
    "misdirected_receipt",
    "booking_error",
    "statement_error",
    "other",
]
"""What a person may say: every cause but `unexplained`."""


def _check_moved(amount: int) -> int:
    if amount == 0:
        raise PydanticCustomError("amount_must_not_be_zero", "A line of a statement moves something.")
    return amount


SignedAmount = Annotated[int, Field(ge=-AMOUNT_MINOR_MAX, le=AMOUNT_MINOR_MAX)]
"""Minor units; below zero: owed to the bank, or taken from the account."""


class StatementLine(BaseModel):
    """One line of a bank's statement: what came in, or below zero what went out."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    amount: Annotated[SignedAmount, AfterValidator(_check_moved)] = Field(json_schema_extra={"not": {"const": 0}})
    booked_at: Instant | None = None
    reference: FreeText | None = None


class GiveStatement(WriteRequest):
    """A bank's statement of one safeguarding account.

    `as_of` is the instant the closing balance is of. `corrects` names the statement (`sfs_…`) this one replaces.
    """

    bank: Annotated[str, Field(pattern=BANK, examples=["first"])]
    currency: Currency
    closing_balance: SignedAmount
    as_of: Instant
    statement_id: Annotated[str, Field(pattern=r"^[!-~]{1,140}$", description="The bank's own name of it.")]
    lines: list[StatementLine] = Field(default=[], max_length=5_000)
    corrects: Annotated[str, Field(pattern=r"^sfs_[a-z0-9_]{1,60}$")] | None = None
    mode: ModeName = "live"


class RunReconciliation(WriteRequest):
    """The instant to reconcile as of; now when it is not given."""

    at: Instant | None = None


class ResolveBreak(WriteRequest):
    """A person's word that a break is over: why there was a difference, and what was done about it."""

    root_cause: StatedCause
    note: FreeText


class AskResolutionPack(BaseModel):
    """The instant the pack is as of (now when not given), and how many days of history before it go in."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    as_of: Instant | None = None
    days: Annotated[int, Field(ge=1, le=3_660)] = 30
    mode: ModeName = "live"


class StatementShown(Shown):
    """A bank's statement as it was given; it never changes."""

    id: str
    object: Literal["safeguarding_statement"]
    mode: ModeName
    bank: str
    currency: str
    statement_id: str
    closing_balance: int
    as_of: str
    lines: list[StatementLine]
    corrects: str | None
    corrected_by: str | None
    given_by: str
    created_at: str


class PartsShown(Shown):
    """What the figures are made of, in minor units.

    `not_counted` is credits less debits, `negative_balances` are those of what is owed.
    """

    owed: dict[str, int]
    kept_by_banks: dict[str, int]
    owed_by_rails: dict[str, int]
    not_counted: dict[str, int]
    accounts: int


class BankAccountShown(Shown):
    """One bank account: the books at the statement's instant against the statement."""

    bank: str
    account: str
    status: Finding
    books: int
    books_at: str
    statement: str | None
    statement_id: str | None
    closing_balance: int | None
    difference: int | None
    proposed_root_cause: str | None


class ReconciliationShown(Shown):
    """One currency of one mode at one instant; `difference` is resource less requirement, in minor units."""

    id: str
    object: Literal["safeguarding_reconciliation"]
    status: Finding
    mode: ModeName
    currency: str
    at: str
    day: str | None
    requirement: int
    resource: int
    difference: int
    internal: Finding
    external: Finding
    proposed_root_cause: str | None
    parts: PartsShown
    bank_accounts: list[BankAccountShown]
    created_at: str


class RunShown(Shown):
    """The reconciliations of one instant."""

    object: Literal["safeguarding_run"]
    at: str
    reconciliations: list[ReconciliationShown]


class BreakShown(Shown):
    """A difference, from the reconciliation that found it until it is over. `age_days` are whole days."""

    id: str
    object: Literal["safeguarding_break"]
    status: Literal["open", "resolved"]
    kind: Literal["shortfall", "excess"]
    side: Literal["internal", "external"]
    mode: ModeName
    currency: str
    bank: str | None
    difference: int
    first_difference: int
    age_days: int
    opened_at: str
    opened_by: str
    last_found_at: str
    last_found_by: str
    times_found: int
    times_reopened: int
    root_cause: str
    root_cause_by: str | None
    proposed_root_cause: str | None
    note: str | None
    resolved_at: str | None
    resolved_by: str | None
    confirmed_by: str | None
    created_at: str
