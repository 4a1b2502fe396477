"""Payouts to bank accounts, chain addresses and cards: create, read."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException
from starlette.responses import Response

from api import schemas
from api.account_checks import AccountCheck, check_account
from api.authentication import Caller, MerchantCaller
from api.bodies import AccountId, Amount, CardToken, Currency, FreeText, Metadata, RailName, WriteRequest
from api.context import CoreOf
from api.errors import Problem
from api.idempotency import key_statement, read_write
from api.objects import After, Limit, Status, list_objects, read_object
from api.reading import Row, Statement
from api.rendering import json_answer, list_answer, operation_answer
from api.starting import Start
from domain.identifiers import new_identifier
from domain.money import format_amount
from domain.payout import Payout, payout_document
from domain.payout_stop import PAYOUTS_STOPPED
from workflows.payout import PayoutWorkflow, StartPayout

router = APIRouter(prefix="/v1", tags=["payouts"])

STOPPED_RETRY_SECONDS = "300"
"""A person has to look at the books first: asking every second is of no use."""

_STOPPED = "SELECT payouts_stopped(%(currency)s) AS stopped"


def _compact_iban(text: str) -> str:
    try:
        return str(IBAN(text).compact)
    except (SchwiftyException, ValueError):
        raise PydanticCustomError(
            "iban_invalid", "This is no valid IBAN: check country, length and check digits."
        ) from None


class _Destination(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class IbanDestination(_Destination):
    """A bank account."""

    type: Literal["iban"]
    iban: Annotated[str, Field(max_length=42), AfterValidator(_compact_iban)]
    name: Annotated[FreeText, Field(max_length=140)]


class UsdcDestination(_Destination):
    """An address on a chain; only for payouts in USDC."""

    type: Literal["usdc"]
    address: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
    chain: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{1,39}$")]


class CardDestination(_Destination):
    """A stored card."""

    type: Literal["card"]
    token: CardToken


def _routing_number(text: str) -> str:
    weights = (3, 7, 1) * 3
    if sum(weight * int(digit) for weight, digit in zip(weights, text, strict=True)) % 10:
        raise PydanticCustomError("routing_number_invalid", "This is no routing number: check its digits.")
    return text


class AchDestination(_Destination):
    """A bank account in the United States; only for payouts in USD."""

    type: Literal["ach"]
    routing_number: Annotated[str, Field(pattern=r"^[0-9]{9}$"), AfterValidator(_routing_number)]
    account_number: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,17}$")]
    name: Annotated[FreeText, Field(max_length=140)]
    account_type: Literal["checking", "savings"] = "checking"
    holder_type: Literal["individual", "company"] = "individual"


Destination = Annotated[
    IbanDestination | UsdcDestination | CardDestination | AchDestination, Field(discriminator="type")
]


class CreatePayout(WriteRequest):
    """A payout of money an account has."""

    amount: Amount
    currency: Currency
    source: AccountId
    destination: Destination
    rail: RailName = "auto"
    metadata: Metadata = Field(default_factory=dict)


@router.post("/payouts", responses=schemas.operation(schemas.Payout), openapi_extra=schemas.body(CreatePayout))
async def create_payout(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Pay money of an account out. 202 while the rail has it in hand."""
    asked, wanted = await read_write(request, merchant, CreatePayout)
    core.check_rail(wanted.rail, "payout")
    check_destination(wanted.destination, wanted.currency)
    check = AccountCheck(merchant, [wanted.source])
    keys, accounts, stops = await core.reads.rows(
        merchant.scope, key_statement(asked), check.statement(), Statement(_STOPPED, {"currency": wanted.currency})
    )
    if not keys:
        _check_not_stopped(wanted.currency, stops)
        check_account(check.found(accounts), wanted.source, wanted.currency, param="source")
    payout = Payout(
        id=new_identifier("po"),
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        amount_minor=wanted.amount,
        currency=wanted.currency,
        source=wanted.source,
        destination=wanted.destination.model_dump(),
        workflow_id=asked.workflow_id,
        created_at=datetime.now(UTC),
        requested_rail=wanted.rail,
        metadata=wanted.metadata,
    )
    amount = format_amount(payout.amount_minor, payout.currency)
    landing = await core.flights.land(
        Start(
            asked=asked,
            workflow=PayoutWorkflow.run,
            argument=StartPayout(payout=payout, claim=asked.claim("payout", payout.id), actor=merchant.actor),
            initial=payout_document(payout),
            summary=f"{amount} from {payout.source} to {wanted.destination.type} via {wanted.rail}",
        )
    )
    core.metrics.count_operation(landing.document, replayed=landing.replayed)
    return operation_answer(landing.document, replayed=landing.replayed)


def _check_not_stopped(currency: str, stops: list[Row]) -> None:
    """Let a payout start unless the books are in doubt; nothing is remembered, so a retry is welcome.

    Raises:
        Problem: 503, payouts in this currency are stopped. Retryable with the same key.
    """
    if stops[0]["stopped"]:
        detail = f"Payouts in {currency} are stopped for now. Nothing was moved; retry later with the same key."
        raise Problem(503, PAYOUTS_STOPPED, detail, headers={"Retry-After": STOPPED_RETRY_SECONDS})


def check_destination(destination: Destination, currency: str, *, param: str = "currency") -> None:
    """Let a payout pass whose destination can hold its currency. `param` is the field at fault.

    Raises:
        Problem: 422. Not retryable.
    """
    on_chain = destination.type == "usdc"
    if on_chain != (currency == "USDC"):
        detail = "A usdc destination takes USDC, every other destination takes money in an ISO currency."
        raise Problem(422, "currency_mismatch", detail, param=param)
    if destination.type == "ach" and currency != "USD":
        raise Problem(422, "currency_mismatch", "An ach destination takes USD.", param=param)


@router.get("/payouts/{payout_id}", responses=schemas.reading(schemas.Payout))
async def get_payout(payout_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return a payout as it stands."""
    return json_answer(await read_object(core.reads, principal.scope, "payout", payout_id))


@router.get("/payouts", responses=schemas.listing(schemas.Payout))
async def list_payouts(
    principal: Caller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    status: Status = None,
) -> Response:
    """Return payouts, newest first."""
    documents, more = await list_objects(
        core.reads,
        principal.scope,
        "payout",
        limit=limit,
        starting_after=starting_after,
        filters={"status": status},
    )
    return list_answer(documents, more)
