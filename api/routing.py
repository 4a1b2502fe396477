"""The merchant's routing policy, and the route a charge would take."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api import schemas
from api.authentication import MerchantCaller
from api.bodies import Amount, CardToken, Currency, RailName, read_body, validate
from api.context import CoreOf
from api.policies import read_policy, write_policy
from api.rendering import json_answer
from api.services import QuoteRequest
from domain.rail import RouteOption
from domain.routing import EXPLORATION_MAX, routing_policy_document, routing_policy_of

router = APIRouter(prefix="/v1/routing", tags=["routing"])

Weight = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Weights(_Strict):
    """Prices: of a minor unit of cost, of an approval (as a share of the amount), of a second."""

    cost: Weight | None = None
    approval: Weight | None = None
    speed: Weight | None = None


class RoutingPolicyBody(_Strict):
    """What to change; what is left out stays as it is."""

    weights: Weights = Field(default_factory=Weights)
    max_attempts: Annotated[int, Field(ge=1, le=10)] | None = None
    exploration: Annotated[float, Field(ge=0, le=EXPLORATION_MAX, allow_inf_nan=False)] | None = None
    exploration_loss_max: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class QuoteBody(_Strict):
    """A charge that is not made."""

    amount: Amount
    currency: Currency
    source: CardToken | None = None
    rail: RailName = "auto"


class Prices(schemas.Shown):
    """What a unit of each term is worth, in minor units."""

    cost: float
    approval: float
    speed: float


class RoutingPolicyShown(schemas.Shown):
    """How the merchant's charges are routed."""

    object: Literal["routing_policy"]
    weights: Prices
    max_attempts: int
    exploration: float
    exploration_loss_max: float


class RouteQuote(schemas.Shown):
    """The plan a charge would get now."""

    object: Literal["route_quote"]
    amount: int
    currency: str
    rail: str
    route: list[schemas.RouteShown]


@router.get("/policy", responses=schemas.reading(RoutingPolicyShown))
async def get_routing_policy(merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return the policy in effect."""
    stored, _ = await read_policy(core, merchant, "routing")
    return json_answer({"object": "routing_policy", **routing_policy_document(routing_policy_of(stored))})


@router.put(
    "/policy",
    responses={**schemas.writing(RoutingPolicyShown), **schemas.problems(409)},
    openapi_extra=schemas.body(RoutingPolicyBody),
)
async def put_routing_policy(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Change the policy; it holds for every charge assessed from now on."""
    wanted = validate(RoutingPolicyBody, await read_body(request))
    stored, _ = await read_policy(core, merchant, "routing")
    document = routing_policy_document(routing_policy_of(stored))
    weights = {**document["weights"], **wanted.weights.model_dump(exclude_none=True)}
    others = wanted.model_dump(exclude_none=True, exclude={"weights"})
    return json_answer(await write_policy(core, merchant, "routing", {**document, **others, "weights": weights}))


@router.post("/quote", responses=schemas.writing(RouteQuote), openapi_extra=schemas.body(QuoteBody))
async def quote_route(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return the route plan a charge would get now, every term of it. Makes nothing."""
    wanted = validate(QuoteBody, await read_body(request))
    core.check_rail(wanted.rail, "authorize")
    options = await core.services.quote(
        QuoteRequest(
            merchant_id=merchant.merchant_id,
            mode=merchant.mode,
            amount_minor=wanted.amount,
            currency=wanted.currency,
            source=wanted.source,
            rail=wanted.rail,
        )
    )
    return json_answer(
        {
            "object": "route_quote",
            "amount": wanted.amount,
            "currency": wanted.currency,
            "rail": wanted.rail,
            "route": [_shown(option) for option in options],
        }
    )


def _shown(option: RouteOption) -> dict[str, Any]:
    return {
        "rail": option.rail,
        "utility": option.utility,
        "landed_cost": option.landed_cost_minor,
        "approval_probability": option.approval_probability,
        "settlement_seconds": option.settlement_seconds,
        "terms": dict(option.terms),
        "reason": option.reason,
    }
