"""Accounts: open, read, balance at an instant, entries, and sandbox funding."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api import schemas
from api.authentication import Merchant, MerchantCaller
from api.bodies import AccountId, Amount, Currency, FreeText, Metadata, WriteRequest, parse_at
from api.bookkeeping import commit_keyed
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import ACCOUNT_DOCUMENT, read_write
from api.objects import After, At, Limit, check_cursor, is_identifier
from api.reading import ReadScope, Row, Statement
from api.rendering import Document, json_answer, list_answer, operation_answer
from api.transfers import start_transfer
from domain.identifiers import Mode, account_code, new_identifier, public_account_id
from domain.ledger import AuditDraft, EventDraft, Posting, Record, RecordKind
from domain.money import AMOUNT_MINOR_MAX
from domain.timestamps import rfc3339
from domain.transfer import Transfer
from ledger.balances import Axis, Balance, EntryRow, account_entries, balance_at

router = APIRouter(prefix="/v1", tags=["accounts"])

Floor = Annotated[int, Field(ge=-AMOUNT_MINOR_MAX, le=AMOUNT_MINOR_MAX)]


Ceiling = Annotated[int, Field(ge=0, le=AMOUNT_MINOR_MAX)]


class CreateAccount(WriteRequest):
    """An account. `min_balance` is how far it may go down, `max_balance` how far up; null for no limit."""

    id: AccountId | None = None
    currency: Currency
    name: FreeText | None = None
    min_balance: Floor | None = 0
    max_balance: Ceiling | None = None
    kind: Literal["customer", "merchant"] = "customer"


class FundAccount(WriteRequest):
    """Sandbox money for an account."""

    amount: Amount
    currency: Currency | None = None
    metadata: Metadata = Field(default_factory=dict)


@router.post("/accounts", responses=schemas.creation(schemas.Account), openapi_extra=schemas.body(CreateAccount))
async def create_account(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Open an account."""
    asked, wanted = await read_write(request, merchant, CreateAccount)
    check_limits(wanted.min_balance, wanted.max_balance)
    account_id = wanted.id or new_identifier("acct")
    code = account_code(merchant.merchant_id, merchant.mode, account_id)
    document = {
        "id": account_id,
        "object": "account",
        "status": "open",
        "code": code,
        "currency": wanted.currency,
        "kind": wanted.kind,
        "name": wanted.name,
        "min_balance": wanted.min_balance,
        "max_balance": wanted.max_balance,
        "livemode": merchant.mode is Mode.LIVE,
        "created_at": rfc3339(datetime.now(UTC)),
    }
    posting = Posting(
        # The key is part of it: another request for the same id is not a repeat of this one.
        key=f"{asked.workflow_id}:account",
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        audit=AuditDraft(actor=merchant.actor, action="account.created", object_id=code),
        records=(Record(kind=RecordKind.ACCOUNT, id=code, version=1, document=document, create_only=True),),
        events=(EventDraft(type="account.created", object_id=code, version=1),),
        claim=asked.claim("account", code),
    )
    claimed, replayed = await commit_keyed(core, asked, posting, param="id")
    return json_answer(claimed.document, 201, {"Idempotent-Replayed": "true"} if replayed else None)


@router.post(
    "/accounts/{account_id}/fund",
    responses=schemas.operation(schemas.Transfer),
    openapi_extra=schemas.body(FundAccount),
)
async def fund_account(account_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Put sandbox money on an account (test mode only); a transfer like any other."""
    asked, wanted = await read_write(request, merchant, FundAccount)
    if merchant.mode is not Mode.TEST:
        raise Problem(403, "sandbox_only", "Only sandbox accounts can be funded out of nothing; use a test key.")
    row = await read_account(core, merchant.scope, merchant, account_id)
    currency = row["document"]["currency"]
    if wanted.currency is not None and wanted.currency != currency:
        raise Problem(422, "currency_mismatch", f"This account is kept in {currency}.", param="currency")
    transfer = Transfer(
        id=new_identifier("tr"),
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        amount_minor=wanted.amount,
        currency=currency,
        source="sandbox_funding",
        destination=account_id,
        workflow_id=asked.workflow_id,
        created_at=datetime.now(UTC),
        funding=True,
        metadata=wanted.metadata,
    )
    landing = await start_transfer(core, asked, transfer)
    return operation_answer(landing.document, replayed=landing.replayed)


@router.get("/accounts/{account_id}", responses=schemas.reading(schemas.Account))
async def get_account(account_id: str, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return an account with what is on it now."""
    row = await read_account(core, merchant.scope, merchant, account_id)
    now = {
        "posted": row["balance_minor"],
        "pending_debits": row["pending_debits_minor"],
        "pending_credits": row["pending_credits_minor"],
        "available": row["balance_minor"] - row["pending_debits_minor"],
    }
    return json_answer({**row["document"], **now})


def check_limits(least: int | None, most: int | None) -> None:
    """Let limits pass that leave room between them.

    Raises:
        Problem: 422, the maximum is below the minimum. Not retryable.
    """
    if least is not None and most is not None and most < least:
        raise Problem(422, "limits_out_of_order", "`max_balance` is below `min_balance`.", param="max_balance")


async def read_account(core: Core, scope: ReadScope, merchant: Merchant, account_id: str) -> Row:
    """Return an account's document, what is on it, and the version of its terms.

    Raises:
        Problem: 404, it does not exist or belongs to somebody else. Not retryable.
    """
    if not is_identifier(account_id):
        raise not_found("account")
    code = account_code(merchant.merchant_id, merchant.mode, account_id)
    sql = (
        f"SELECT {ACCOUNT_DOCUMENT.format('a')} AS document, a.id, a.balance_minor, a.pending_debits_minor,"
        " a.pending_credits_minor, a.terms_version FROM accounts a WHERE a.code = %(code)s"
    )
    row = await core.reads.first(scope, Statement(sql, {"code": code}))
    if row is None:
        raise not_found("account")
    return row


def watermark_header(balance: Balance) -> dict[str, str]:
    """Return the header that says up to when nothing more can be recorded: it moves on, so no answer's body has it."""
    watermark = rfc3339(balance.watermark)
    assert watermark is not None
    return {"Ledger-Watermark": watermark}


@router.get("/accounts/{account_id}/balance", responses=schemas.reading(schemas.Balance))
async def get_balance(
    account_id: str,
    merchant: MerchantCaller,
    core: CoreOf,
    at: At = None,
    axis: Annotated[Axis, Query(description="By when it was recorded, or from when it counts.")] = Axis.RECORDED,
) -> Response:
    """Return the balance at an instant. An answer by recorded time about the past never changes."""
    if not is_identifier(account_id):
        raise not_found("account")
    instant = parse_at(at)
    async with core.reads.connection(merchant.scope) as connection:
        code = account_code(merchant.merchant_id, merchant.mode, account_id)
        balance = await balance_at(connection, code, instant, axis)
    if balance is None:
        raise not_found("account")
    return json_answer(
        {
            "object": "balance",
            "account": account_id,
            "currency": balance.currency,
            "posted": balance.posted_minor,
            "pending_debits": balance.pending_debits_minor,
            "pending_credits": balance.pending_credits_minor,
            "available": balance.available_minor,
            "at": rfc3339(balance.at),
            "axis": axis.value,
            "version": balance.version,
        },
        headers=watermark_header(balance),
    )


@router.get("/accounts/{account_id}/entries", responses=schemas.listing(schemas.EntryShown))
async def list_entries(
    account_id: str,
    merchant: MerchantCaller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: Annotated[str | None, Query(pattern=r"^le_[0-9]{16,18}$")] = None,
) -> Response:
    """Return an account's entries, newest first, each with the balance right after it."""
    if not is_identifier(account_id):
        raise not_found("account")
    code = account_code(merchant.merchant_id, merchant.mode, account_id)
    before = int(starting_after.removeprefix("le_")) if starting_after else None
    async with core.reads.connection(merchant.scope) as connection:
        entries = await account_entries(connection, code, limit=limit + 1, before=before)
        if not entries and await balance_at(connection, code) is None:
            raise not_found("account")
    return list_answer([entry_document(entry) for entry in entries[:limit]], len(entries) > limit)


def entry_document(entry: EntryRow) -> Document:
    """Return an entry as the API shows it."""
    return {
        "id": entry.id,
        "object": "entry",
        "account": public_account_id(entry.account),
        "direction": entry.direction,
        "amount": entry.amount_minor,
        "currency": entry.currency,
        "balance": entry.balance_minor,
        "sequence": entry.sequence,
        "kind": entry.kind,
        "reference": entry.reference,
        "recorded_at": rfc3339(entry.recorded_at),
        "effective_at": rfc3339(entry.effective_at),
    }


@router.get("/accounts", responses=schemas.listing(schemas.Account))
async def list_accounts(
    merchant: MerchantCaller, core: CoreOf, limit: Limit = 10, starting_after: After = None
) -> Response:
    """Return accounts in the order of their ids."""
    sql = (
        f"SELECT {ACCOUNT_DOCUMENT.format('a')} AS document FROM accounts a"
        " WHERE a.code > %(after)s AND a.merchant_id IS NOT NULL ORDER BY a.code LIMIT %(most)s"
    )
    cursor = check_cursor(starting_after)
    after = account_code(merchant.merchant_id, merchant.mode, cursor) if cursor else ""
    (rows,) = await core.reads.rows(merchant.scope, Statement(sql, {"after": after, "most": limit + 1}))
    return list_answer([row["document"] for row in rows[:limit]], len(rows) > limit)
