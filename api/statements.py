"""An account's statement between two instants, on either time axis."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import schemas
from api.accounts import entry_document, watermark_header
from api.authentication import MerchantCaller
from api.bodies import parse_at
from api.context import CoreOf
from api.errors import Problem, not_found
from api.objects import DATE_TIME, Limit, is_identifier
from api.rendering import Document, json_answer
from domain.identifiers import account_code
from domain.timestamps import rfc3339
from ledger.balances import Axis, Balance
from ledger.statements import statement

router = APIRouter(prefix="/v1", tags=["accounts"])


class BalanceShown(schemas.Shown):
    """A balance at one end of a statement."""

    posted: int
    pending_debits: int
    pending_credits: int
    available: int
    at: str


class AccountStatement(schemas.Shown):
    """What was on an account, what happened to it, what was on it then: opening + moved = closing."""

    object: Literal["statement"]
    account: str
    currency: str
    axis: Literal["recorded", "effective"]
    opening: BalanceShown
    closing: BalanceShown
    moved: int
    entry_count: int
    data: list[schemas.EntryShown]
    has_more: bool


@router.get("/accounts/{account_id}/statement", responses=schemas.reading(AccountStatement))
async def get_statement(
    account_id: str,
    merchant: MerchantCaller,
    core: CoreOf,
    start: Annotated[
        str, Query(alias="from", max_length=40, description="RFC 3339; itself excluded.", json_schema_extra=DATE_TIME)
    ],
    end: Annotated[
        str | None,
        Query(
            alias="to",
            max_length=40,
            description="RFC 3339, itself included; now when not given.",
            json_schema_extra=DATE_TIME,
        ),
    ] = None,
    axis: Annotated[Axis, Query(description="By when it was recorded, or from when it counts.")] = Axis.RECORDED,
    limit: Limit = 100,
    starting_after: Annotated[str | None, Query(pattern=r"^le_[0-9]{16,18}$")] = None,
) -> Response:
    """Return opening balance, entries (oldest first) and closing balance. By recorded time the past never changes."""
    if not is_identifier(account_id):
        raise not_found("account")
    first, last = parse_at(start, param="from"), parse_at(end, param="to")
    assert first is not None
    if last is not None and last < first:
        raise Problem(422, "period_out_of_order", "`to` is before `from`.", param="to")
    code = account_code(merchant.merchant_id, merchant.mode, account_id)
    after = int(starting_after.removeprefix("le_")) if starting_after else None
    async with core.reads.connection(merchant.scope) as connection:
        found = await statement(connection, code, first, last, axis, limit=limit, after=after)
    if found is None:
        raise not_found("account")
    return json_answer(
        {
            "object": "statement",
            "account": account_id,
            "currency": found.closing.currency,
            "axis": axis.value,
            "opening": _shown(found.opening),
            "closing": _shown(found.closing),
            "moved": found.moved_minor,
            "entry_count": found.entry_count,
            "data": [entry_document(entry) for entry in found.entries],
            "has_more": found.has_more,
        },
        headers=watermark_header(found.closing),
    )


def _shown(balance: Balance) -> Document:
    return {
        "posted": balance.posted_minor,
        "pending_debits": balance.pending_debits_minor,
        "pending_credits": balance.pending_credits_minor,
        "available": balance.available_minor,
        "at": rfc3339(balance.at),
    }
