"""Charges: create, capture, void, authenticate, read."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from api import schemas
from api.account_checks import AccountCheck, check_account
from api.authentication import Caller, MerchantCaller
from api.bodies import AccountId, Amount, CardToken, Currency, FreeText, Metadata, RailName, WriteRequest
from api.context import Core, CoreOf
from api.errors import Problem
from api.idempotency import KeyedRequest, key_statement, read_write
from api.objects import After, Limit, Status, list_objects, read_object
from api.payouts import Destination, check_destination
from api.reading import Statement
from api.rendering import json_answer, list_answer, operation_answer
from api.starting import Start
from api.updating import ObjectUpdate, UpdateMethod, update_object
from domain.charge import Charge, ChargePayout, charge_document
from domain.identifiers import Mode, charge_payout_id, default_account_id, new_identifier
from domain.money import format_amount
from domain.sandbox import is_sandbox_token
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import AuthenticateCharge, CaptureCharge, StartCharge, VoidCharge

router = APIRouter(prefix="/v1", tags=["charges"])


def _check_return_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise PydanticCustomError("return_url_invalid", "A return URL is an absolute http(s) URL.")
    return url


def _check_proof(given: "GivenAuthentication") -> "GivenAuthentication":
    if (given.exemption is None) == (given.cavv is None):
        raise PydanticCustomError("authentication_invalid", "Give either an exemption or the proof of a 3DS server.")
    return given


class GivenAuthentication(BaseModel):
    """What the merchant says about the customer's authentication: an exemption it claims, or its 3DS server's proof."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    exemption: (
        Literal["low_value", "transaction_risk_analysis", "trusted_beneficiary", "recurring", "secure_corporate"] | None
    ) = None
    eci: Annotated[str, Field(max_length=2)] | None = None
    cavv: Annotated[str, Field(max_length=64)] | None = None
    ds_transaction_id: Annotated[str, Field(max_length=64)] | None = None
    version: Annotated[str, Field(max_length=8)] | None = None

    def evidence(self) -> dict[str, str]:
        """Return what the rail is told. A proof is a customer authenticated without a challenge of ours."""
        given = {name: str(value) for name, value in self.model_dump(exclude_none=True).items()}
        return given if self.cavv is None else {**given, "result": "success"}


class PayoutOfCharge(BaseModel):
    """Where a charge's money goes once it is settled: all of its net unless `amount` says otherwise."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    destination: Destination
    rail: RailName = "auto"
    amount: Amount | None = None


class CreateCharge(WriteRequest):
    """A card charge. `account` defaults to the merchant's own account in the currency."""

    amount: Amount
    currency: Currency
    source: CardToken
    rail: RailName = "auto"
    capture: bool = True
    account: AccountId | None = None
    customer: FreeText | None = None
    description: FreeText | None = None
    metadata: Metadata = Field(default_factory=dict)
    return_url: Annotated[str, Field(max_length=2000), AfterValidator(_check_return_url)] | None = None
    payout: PayoutOfCharge | None = None
    authentication: Annotated[GivenAuthentication, AfterValidator(_check_proof)] | None = None


class CaptureRequest(WriteRequest):
    """A capture; everything that is left when `amount` is not given. `final` releases the rest."""

    amount: Amount | None = None
    final: bool = True


class VoidRequest(WriteRequest):
    """A void has no terms."""


class AuthenticateRequest(WriteRequest):
    """What came of the customer's step, with what the 3DS server said."""

    result: Literal["success", "failure"]
    eci: Annotated[str, Field(max_length=2)] | None = None
    cavv: Annotated[str, Field(max_length=64)] | None = None
    ds_transaction_id: Annotated[str, Field(max_length=64)] | None = None
    version: Annotated[str, Field(max_length=8)] | None = None

    def evidence(self) -> dict[str, str]:
        """Return the 3DS data that was given."""
        given = self.model_dump(include={"eci", "cavv", "ds_transaction_id", "version"}, exclude_none=True)
        return {name: str(value) for name, value in given.items()}


@router.post("/charges", responses=schemas.operation(schemas.Charge), openapi_extra=schemas.body(CreateCharge))
async def create_charge(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Charge a card: score, route, authorize, and, unless `capture` is false, capture.

    Answers when the outcome is committed. 201 settled, captured, authorized or waiting for the
    customer; 202 unknown or still running; 402 declined; 503 no rail could be reached.
    """
    asked, wanted = await read_write(request, merchant, CreateCharge)
    core.check_rail(wanted.rail, "authorize")
    _check_payout(core, wanted)
    await _check_references(core, asked, wanted)
    charge = _new_charge(asked, wanted)
    landing = await core.flights.land(
        Start(
            asked=asked,
            workflow=ChargeWorkflow.run,
            argument=StartCharge(
                charge=charge,
                claim=asked.claim("charge", charge.id),
                challenge_url=core.challenge_url(charge.id, merchant.mode),
                actor=merchant.actor,
            ),
            initial=charge_document(charge),
            summary=f"{format_amount(charge.amount_minor, charge.currency)} from {charge.source} via {wanted.rail}",
        )
    )
    core.metrics.count_operation(landing.document, replayed=landing.replayed)
    return operation_answer(landing.document, replayed=landing.replayed)


def _check_payout(core: Core, wanted: CreateCharge) -> None:
    """Let a charge pass that can be paid out as it asks.

    Raises:
        Problem: 422. Not retryable.
    """
    payout = wanted.payout
    if payout is None:
        return
    core.check_rail(payout.rail, "payout")
    check_destination(payout.destination, wanted.currency, param="payout.destination")
    if payout.amount is not None and payout.amount > wanted.amount:
        detail = "A charge cannot pay out more than it takes."
        raise Problem(422, "payout_exceeds_charge", detail, param="payout.amount")


def _payout_of(charge_id: str, wanted: PayoutOfCharge | None) -> ChargePayout | None:
    if wanted is None:
        return None
    return ChargePayout(
        id=charge_payout_id(charge_id),
        destination=wanted.destination.model_dump(),
        rail=wanted.rail,
        amount_minor=wanted.amount,
    )


def _new_charge(asked: KeyedRequest, wanted: CreateCharge) -> Charge:
    merchant, charge_id = asked.merchant, new_identifier("ch")
    return Charge(
        id=charge_id,
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        amount_minor=wanted.amount,
        currency=wanted.currency,
        source=wanted.source,
        account=wanted.account or default_account_id(merchant.merchant_id, wanted.currency),
        workflow_id=asked.workflow_id,
        created_at=datetime.now(UTC),
        requested_rail=wanted.rail,
        capture=wanted.capture,
        customer=wanted.customer,
        description=wanted.description,
        metadata=wanted.metadata,
        return_url=wanted.return_url,
        payout=_payout_of(charge_id, wanted.payout),
        authentication=None if wanted.authentication is None else wanted.authentication.evidence(),
    )


async def _check_references(core: Core, asked: KeyedRequest, wanted: CreateCharge) -> None:
    """Let a charge pass whose account and stored card exist; the plain case reads nothing.

    Raises:
        Problem: 404 no such account or token, 422 the account has another currency. Not retryable.
    """
    merchant = asked.merchant
    stored = not (merchant.mode is Mode.TEST and is_sandbox_token(wanted.source))
    account = wanted.account
    if account == default_account_id(merchant.merchant_id, wanted.currency):
        account = None
    if not stored and account is None:
        return
    check = AccountCheck(merchant, [account] if account else [])
    token = Statement("SELECT id FROM vault_tokens WHERE id = %(id)s", {"id": wanted.source})
    keys, accounts, tokens = await core.reads.rows(merchant.scope, key_statement(asked), check.statement(), token)
    if keys:
        return  # A known key is answered from the books, whatever has become of the account since.
    if stored and not tokens:
        raise _token_not_found()
    if account is not None:
        check_account(check.found(accounts), account, wanted.currency, param="account")


def _token_not_found() -> Problem:
    return Problem(404, "token_not_found", "There is no such token in this account and mode.", param="source")


@router.post(
    "/charges/{charge_id}/capture", responses=schemas.change(schemas.Charge), openapi_extra=schemas.body(CaptureRequest)
)
async def capture_charge(charge_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Take the money of an authorization, or a part of it."""
    asked, wanted = await read_write(request, merchant, CaptureRequest)
    argument = CaptureCharge(
        amount_minor=wanted.amount, final=wanted.final, claim=asked.claim("charge", charge_id), actor=merchant.actor
    )
    return await _update(core, charge_id, "capture", ChargeWorkflow.capture, argument, asked)


@router.post(
    "/charges/{charge_id}/void", responses=schemas.change(schemas.Charge), openapi_extra=schemas.body(VoidRequest)
)
async def void_charge(charge_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Give an authorization back; nothing is moved."""
    asked, _ = await read_write(request, merchant, VoidRequest)
    argument = VoidCharge(claim=asked.claim("charge", charge_id), actor=merchant.actor)
    return await _update(core, charge_id, "void", ChargeWorkflow.void, argument, asked)


@router.post(
    "/charges/{charge_id}/authenticate",
    responses=schemas.change(schemas.Charge),
    openapi_extra=schemas.body(AuthenticateRequest),
)
async def authenticate_charge(charge_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Report the result of the customer's step; answers with what came of the charge."""
    asked, wanted = await read_write(request, merchant, AuthenticateRequest)
    argument = AuthenticateCharge(
        result=wanted.result,
        evidence=wanted.evidence(),
        claim=asked.claim("charge", charge_id),
        actor=merchant.actor,
    )
    return await _update(core, charge_id, "authenticate", ChargeWorkflow.authenticate, argument, asked)


async def _update(
    core: Core, charge_id: str, verb: str, method: UpdateMethod, argument: Any, asked: KeyedRequest
) -> Response:
    update = ObjectUpdate(kind="charge", object_id=charge_id, verb=verb, method=method, argument=argument, asked=asked)
    return await update_object(core, update)


@router.get("/charges/{charge_id}", responses=schemas.reading(schemas.Charge))
async def get_charge(charge_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return a charge as it stands."""
    return json_answer(await read_object(core.reads, principal.scope, "charge", charge_id))


@router.get("/charges", responses=schemas.listing(schemas.Charge))
async def list_charges(
    principal: Caller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    status: Status = None,
) -> Response:
    """Return charges, newest first."""
    documents, more = await list_objects(
        core.reads,
        principal.scope,
        "charge",
        limit=limit,
        starting_after=starting_after,
        filters={"status": status},
    )
    return list_answer(documents, more)
