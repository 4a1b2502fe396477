"""Transfers between two ledger accounts of one merchant: create, read."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api import schemas
from api.account_checks import AccountCheck, Currencies, require_account
from api.authentication import Caller, Merchant, MerchantCaller
from api.bodies import AccountId, Amount, Currency, Instant, Metadata, RailName, WriteRequest, parse_instant
from api.context import Core, CoreOf
from api.errors import Problem
from api.idempotency import KeyedRequest, key_statement, read_write
from api.objects import After, Limit, Status, list_objects, read_object
from api.reading import Row, Statement
from api.rendering import json_answer, list_answer, operation_answer
from api.starting import Landing, Start
from api.waiting_refunds import wake_refunds
from domain.fx import FxQuote, quote_from_document
from domain.identifiers import new_identifier
from domain.money import format_amount
from domain.transfer import Transfer, transfer_document
from workflows.policies import TRANSFER_HOLD_SECONDS, TRANSFER_HOLD_SECONDS_MAX
from workflows.transfer import TransferWorkflow
from workflows.transfer_messages import StartTransfer

router = APIRouter(prefix="/v1", tags=["transfers"])


QuoteId = Annotated[str, Field(pattern=r"^fxq_[a-z0-9]{1,60}$", examples=["fxq_01kb0000000000000000000000"])]

_FIND_QUOTE = "SELECT document, version FROM fx_quotes WHERE id = %(id)s"


class CreateTransfer(WriteRequest):
    """A transfer. Between two ledger accounts the rail is `book`, which `auto` finds.

    `pending`: the money is set aside, to be posted or voided later; it expires after `expires_in_seconds`
    (a week when not given). Across currencies a transfer needs an `fx_quote`; `amount` and `currency` are
    then what the quote sells.
    """

    amount: Amount
    currency: Currency
    source: AccountId
    destination: AccountId
    rail: RailName = "auto"
    fx_quote: QuoteId | None = None
    effective_at: Instant | None = None
    pending: bool = False
    expires_in_seconds: Annotated[int, Field(ge=1, le=TRANSFER_HOLD_SECONDS_MAX)] | None = None
    metadata: Metadata = Field(default_factory=dict)


@router.post("/transfers", responses=schemas.operation(schemas.Transfer), openapi_extra=schemas.body(CreateTransfer))
async def create_transfer(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Move money between two accounts in one commit, or set it aside first; across currencies at a quote."""
    asked, wanted = await read_write(request, merchant, CreateTransfer)
    if wanted.rail not in ("auto", "book"):
        raise Problem(422, "unknown_rail", "Between two ledger accounts the rail is `book`.", param="rail")
    if wanted.source == wanted.destination:
        raise Problem(422, "accounts_must_differ", "A transfer moves money between two accounts.", param="destination")
    if wanted.expires_in_seconds is not None and not wanted.pending:
        detail = "Only a transfer with `pending: true` expires."
        raise Problem(422, "expires_without_pending", detail, param="expires_in_seconds")
    if wanted.pending and wanted.fx_quote is not None:
        detail = "A transfer at a quote settles at once: its rate is not held."
        raise Problem(422, "fx_quote_with_pending", detail, param="pending")
    check = AccountCheck(merchant, [wanted.source, wanted.destination])
    find_quote = Statement(_FIND_QUOTE, {"id": wanted.fx_quote})
    keys, accounts, *quotes = await core.reads.rows(
        merchant.scope, key_statement(asked), check.statement(), *([find_quote] if wanted.fx_quote else [])
    )
    quote = None
    if not keys:
        if wanted.fx_quote is not None:
            quote = _quoted(quotes[0], merchant)
            _check_quote(check.found(accounts), wanted, quote)
        else:
            _check_currencies(check.found(accounts), wanted)
    transfer = Transfer(
        id=new_identifier("tr"),
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        amount_minor=wanted.amount,
        currency=wanted.currency,
        source=wanted.source,
        destination=wanted.destination,
        workflow_id=asked.workflow_id,
        created_at=datetime.now(UTC),
        effective_at=parse_instant(wanted.effective_at) if wanted.effective_at else None,
        metadata=wanted.metadata,
        pending=wanted.pending,
        expires_in_seconds=(wanted.expires_in_seconds or TRANSFER_HOLD_SECONDS) if wanted.pending else None,
        fx_quote=quote,
    )
    landing = await start_transfer(core, asked, transfer)
    return operation_answer(landing.document, replayed=landing.replayed)


async def start_transfer(core: Core, asked: KeyedRequest, transfer: Transfer) -> Landing:
    """Start a transfer's workflow (fundings too) and return its outcome."""
    amount = format_amount(transfer.amount_minor, transfer.currency)
    landing = await core.flights.land(
        Start(
            asked=asked,
            workflow=TransferWorkflow.run,
            argument=StartTransfer(
                transfer=transfer, claim=asked.claim("transfer", transfer.id), actor=asked.merchant.actor
            ),
            initial=transfer_document(transfer),
            summary=f"{amount} from {transfer.source} to {transfer.destination}",
        )
    )
    core.metrics.count_operation(landing.document, replayed=landing.replayed)
    if landing.document.get("status") == "settled" and not landing.replayed:
        await wake_refunds(core, asked.merchant, transfer.destination)
    return landing


def _check_currencies(found: Currencies, wanted: CreateTransfer) -> None:
    """Let a transfer pass whose two accounts exist and are kept in its currency.

    Raises:
        Problem: 404 no such account; 400 the accounts have two currencies and there is no quote
            (semantics rule 22); 422 neither is kept in the transfer's currency. Not retryable.
    """
    source = require_account(found, wanted.source, param="source")
    destination = require_account(found, wanted.destination, param="destination")
    if source != destination:
        detail = (
            f"The source is kept in {source}, the destination in {destination}:"
            " that needs the `fx_quote` of a POST /v1/fx/quotes."
        )
        raise Problem(400, "quote_required", detail, param="destination")
    if source != wanted.currency:
        raise Problem(422, "currency_mismatch", f"Both accounts are kept in {source}.", param="currency")


def _quoted(rows: list[Row], merchant: Merchant) -> FxQuote:
    """Return the merchant's quote, as it is stored.

    Raises:
        Problem: 404, there is none of this id. Not retryable.
    """
    if not rows:
        raise Problem(404, "fx_quote_not_found", "There is no such quote for this merchant and mode.", param="fx_quote")
    return quote_from_document(rows[0]["document"], merchant_id=merchant.merchant_id, version=rows[0]["version"])


def _check_quote(found: Currencies, wanted: CreateTransfer, quote: FxQuote) -> None:
    """Let a transfer pass that is what its quote says.

    Whether the quote is still good is decided, and remembered, by the transfer itself: a repeat of a
    request that is under way must not be told otherwise.

    Raises:
        Problem: 404 no such account; 422 amount, currency or an account is not the quote's. Not retryable.
    """
    source = require_account(found, wanted.source, param="source")
    destination = require_account(found, wanted.destination, param="destination")
    for param, asked, quoted in (
        ("amount", wanted.amount, quote.sell_amount_minor),
        ("currency", wanted.currency, quote.sell_currency),
        ("source", source, quote.sell_currency),
        ("destination", destination, quote.buy_currency),
    ):
        if asked != quoted:
            kept = "" if param in ("amount", "currency") else "an account kept in "
            detail = f"The quote is about {kept}{quoted} as `{param}`."
            raise Problem(422, "fx_quote_mismatch", detail, param=param)


@router.get("/transfers/{transfer_id}", responses=schemas.reading(schemas.Transfer))
async def get_transfer(transfer_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return a transfer with its entries."""
    return json_answer(await read_object(core.reads, principal.scope, "transfer", transfer_id))


@router.get("/transfers", responses=schemas.listing(schemas.Transfer))
async def list_transfers(
    principal: Caller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    status: Status = None,
) -> Response:
    """Return transfers, newest first."""
    documents, more = await list_objects(
        core.reads,
        principal.scope,
        "transfer",
        limit=limit,
        starting_after=starting_after,
        filters={"status": status},
    )
    return list_answer(documents, more)
