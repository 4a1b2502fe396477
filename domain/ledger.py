"""What the ledger is told and what it answers.

A *posting* is the unit that commits together or not at all: movements of money, the new version of
the objects they belong to, one event per object, an audit record, and the claim of an idempotency
key. `ledger/posting.py` commits many postings in one SERIALIZABLE transaction.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.facts import Fact
from domain.identifiers import Mode
from domain.money import check_amount


class Phase(StrEnum):
    """What a movement does with money.

    POST moves it. HOLD reserves it under the movement's key. POST_HOLD moves all or part of a hold
    and keeps the rest held; POST_HOLD_FINAL moves all or part and releases the rest; VOID_HOLD
    releases all of it and moves nothing.
    """

    POST = "post"
    HOLD = "hold"
    POST_HOLD = "post_hold"
    POST_HOLD_FINAL = "post_hold_final"
    VOID_HOLD = "void_hold"


class RefusalCode(StrEnum):
    """Why the ledger said no; none of these moved or recorded anything. Not retryable."""

    ACCOUNT_NOT_FOUND = "account_not_found"
    ACCOUNT_CLOSED = "account_closed"
    CURRENCY_MISMATCH = "currency_mismatch"
    EXCEEDS_AVAILABLE_BALANCE = "exceeds_available_balance"
    EXCEEDS_MAXIMUM_BALANCE = "exceeds_maximum_balance"
    EXISTS_WITH_DIFFERENT_AMOUNT = "exists_with_different_amount"
    EXISTS_WITH_DIFFERENT_FACTS = "exists_with_different_facts"
    HOLD_NOT_FOUND = "hold_not_found"
    EXCEEDS_HOLD = "exceeds_hold"
    EXCEEDS_REFUNDABLE_AMOUNT = "exceeds_refundable_amount"
    IDEMPOTENCY_KEY_TAKEN = "idempotency_key_taken"
    ALREADY_EXISTS = "already_exists"
    ACCOUNT_NOT_EMPTY = "account_not_empty"
    ACCOUNT_CHANGED = "account_changed"
    BALANCE_BELOW_MINIMUM = "balance_below_minimum"
    BALANCE_ABOVE_MAXIMUM = "balance_above_maximum"
    FX_QUOTE_EXPIRED = "fx_quote_expired"
    FX_QUOTE_USED = "fx_quote_used"
    PAYOUTS_STOPPED = "payouts_stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One debit and one credit of the same amount. `key` is unique for ever.

    Accounts are account codes. `hold_key` names the HOLD movement a later phase acts on.
    `past_limits`: post even below the minimum balance (chargebacks always post).
    `floor_minor`: the least balance it may leave on the debited account: below zero in place of a higher
    minimum of the account, from zero on in place of a lower one. A VOID_HOLD carries the amount released.
    """

    key: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str
    kind: str
    reference: str
    phase: Phase = Phase.POST
    hold_key: str | None = None
    effective_at: datetime | None = None
    past_limits: bool = False
    floor_minor: int | None = None

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
        assert self.debit_account != self.credit_account
        assert (self.hold_key is None) == (self.phase in (Phase.POST, Phase.HOLD))


class RecordKind(StrEnum):
    """The tables of objects that commit with a posting."""

    CHARGE = "charge"
    REFUND = "refund"
    PAYOUT = "payout"
    TRANSFER = "transfer"
    DISPUTE = "dispute"
    ATTEMPT = "attempt"
    EXCEPTION = "exception"
    ACCOUNT = "account"
    POLICY = "policy"
    FX_QUOTE = "fx_quote"
    PAYOUT_STOP = "payout_stop"
    WEBHOOK_ENDPOINT = "webhook_endpoint"
    RECONCILIATION_FILE = "reconciliation_file"
    RECONCILIATION_LINE = "reconciliation_line"
    SAFEGUARDING_STATEMENT = "safeguarding_statement"
    SAFEGUARDING_RECONCILIATION = "safeguarding_reconciliation"
    SAFEGUARDING_BREAK = "safeguarding_break"
    TOKEN = "token"  # noqa: S105 - the kind of a record, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One object's new version. Written only if `version` is above the stored one.

    `document` is what the API shows (wire names); `internal` is what only the core reads back.
    `create_only`: refuse the whole posting with `already_exists` if another object has this id.
    """

    kind: RecordKind
    id: str
    version: int
    document: dict[str, Any]
    internal: dict[str, Any] = field(default_factory=dict)
    create_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event about a record of the same posting; its sequence is given at commit.

    Unique by (object, version, type): re-running a posting emits nothing twice.
    """

    type: str
    object_id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyClaim:
    """The claim of an idempotency key for one request, for ever.

    `request` is the canonical body (never with card data), kept to name the field that differs.
    """

    key: str
    fingerprint: str
    route: str
    request: dict[str, Any]
    object_kind: str
    object_id: str
    workflow_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundGuard:
    """Refuse unless refunds of the charge, this one included, stay within what was captured."""

    charge_id: str
    refund_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditDraft:
    """Who did what to which object; written in the same transaction, chained and signed."""

    actor: str
    action: str
    object_id: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOpening:
    """An account to open if it is not there yet. Limits in minor units, None for no limit."""

    code: str
    currency: str
    kind: str
    name: str | None = None
    merchant_id: str | None = None
    mode: Mode | None = None
    min_balance_minor: int | None = None
    max_balance_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """New terms of an account: its status, name and limits, each as it is to be (None: no name, no limit).

    `version` is the terms' version after the change; refused as `account_changed` unless it follows the
    stored one, so that what the audit record calls the old values were the old values. Refused as well:
    closing an account that holds or is promised money, a changed limit that the balance breaks (pending
    debits and credits counted in), any change of a closed account.
    """

    code: str
    version: int
    status: str
    name: str | None
    min_balance_minor: int | None
    max_balance_minor: int | None

    def __post_init__(self) -> None:
        assert self.status in ("open", "frozen", "closed"), self.status
        assert self.version > 1, "version 1 is the opening"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Everything that commits together under one unique `key` (`{object_id}:{version}`).

    Idempotent on `key`: posting it again returns the first result as `duplicate`.
    """

    key: str
    merchant_id: str
    mode: Mode
    audit: AuditDraft
    facts: tuple[Fact, ...] = ()
    movements: tuple[Movement, ...] = ()
    records: tuple[Record, ...] = ()
    events: tuple[EventDraft, ...] = ()
    claim: KeyClaim | None = None
    refund_guard: RefundGuard | None = None
    accounts: tuple[AccountOpening, ...] = ()
    account_change: AccountChange | None = None

    def __post_init__(self) -> None:
        assert self.account_change is None or not (self.facts or self.movements), "terms change apart from money"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A definite no of the ledger. `object_id` names the holder of a taken key or id."""

    code: RefusalCode
    detail: str
    account: str | None = None
    object_id: str | None = None
    remaining_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedEntry:
    """One entry as posted; `balance_minor` is the account's balance right after it."""

    id: str
    account: str
    direction: str
    amount_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingResult:
    """Exactly one of `refusal` or a commit. `documents` are the records as stored, by id.

    `versions` of those that were read back because other facts or an earlier run had been stored.
    """

    refusal: Refusal | None = None
    duplicate: bool = False
    ledger_transaction_id: str | None = None
    recorded_at: datetime | None = None
    entries: tuple[PostedEntry, ...] = ()
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
