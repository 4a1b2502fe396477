"""What the merchant pays per charge: its plan, this month's volume and the tiers that has reached."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from api import schemas
from api.administration import MerchantId
from api.authentication import AdminCaller, Merchant, MerchantCaller
from api.bodies import Currency, FreeText, read_body, validate
from api.context import CoreOf
from api.errors import not_found
from api.policies import policy_statement, write_policy
from api.reading import Statement
from api.rendering import Document, json_answer
from domain.identifiers import Mode
from domain.money import AMOUNT_MINOR_MAX
from domain.pricing import (
    DEFAULT_PRICES,
    PriceLine,
    PricingPlan,
    price_document,
    pricing_plan_document,
    pricing_plan_of,
)

router = APIRouter(prefix="/v1", tags=["pricing"])

_VOLUMES = (
    "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM') AS month, v.currency, v.captured_minor"
    " FROM (SELECT 1) one LEFT JOIN monthly_volumes v ON v.merchant_id = %(merchant)s AND v.mode = %(mode)s"
    " AND v.month = to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM')"
)
_MERCHANT = "SELECT 1 AS one FROM merchants WHERE id = %(id)s"

Minor = Annotated[int, Field(ge=0, le=AMOUNT_MINOR_MAX)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TierBody(_Strict):
    """The price from a month's volume on, all in minor units of the line's currency."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    from_volume: Annotated[Minor, Field(alias="from")] = 0
    basis_points: Annotated[int, Field(ge=0, le=10_000)]
    fixed: Minor


class LineBody(_Strict):
    """Tiers for one rail and currency; `*` for any of them."""

    rail: Annotated[str, Field(pattern=r"^(\*|[a-z0-9][a-z0-9_-]{0,59})$")] = "*"
    currency: Currency | Literal["*"]
    tiers: Annotated[list[TierBody], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _rise(self) -> "LineBody":
        steps = [tier.from_volume for tier in self.tiers]
        if steps[0] != 0 or sorted(set(steps)) != steps:
            raise PydanticCustomError("tiers_out_of_order", "The first tier is from 0, and each begins above the last.")
        return self


class PricingBody(_Strict):
    """A merchant's whole plan. What no line is for has the list price."""

    merchant: MerchantId
    mode: Literal["test", "live"] = "test"
    name: FreeText = "own"
    model: Literal["blended", "cost_plus"] = "blended"
    lines: Annotated[list[LineBody], Field(max_length=200)] = Field(default_factory=list)
    refund_fee: Literal["none", "prorata", "full"] = "none"
    dispute_fees: dict[str, Minor] = Field(default_factory=dict, max_length=200)
    dispute_fee_when_won: Literal["kept", "returned"] = "kept"


class PriceShown(schemas.Shown):
    """A price: 1/10000 of the amount, and minor units."""

    basis_points: int
    fixed: int


class PlanShown(schemas.Shown):
    """A merchant's plan as stored."""

    object: Literal["pricing", "pricing_policy"]
    name: str
    model: Literal["blended", "cost_plus"]
    lines: list[dict[str, Any]]
    refund_fee: Literal["none", "prorata", "full"]
    dispute_fees: dict[str, int]
    dispute_fee_when_won: Literal["kept", "returned"]


class Pricing(PlanShown):
    """The plan with the month's volume and the prices in effect by currency; `*` is every other."""

    month: str
    month_volumes: dict[str, int]
    prices: dict[str, PriceShown]


@router.get("/pricing", responses=schemas.reading(Pricing))
async def get_pricing(merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return the plan, the month's volume and the prices in effect by currency.

    `prices`: `basis_points` (1/10000 of the amount) plus `fixed` minor units, on any rail; `*` for others.
    """
    volumes = Statement(_VOLUMES, {"merchant": merchant.merchant_id, "mode": merchant.mode.value})
    policies, rows = await core.reads.rows(merchant.scope, policy_statement(merchant, "pricing"), volumes)
    plan = pricing_plan_of(policies[0]["document"] if policies else None)
    by_currency = {row["currency"]: row["captured_minor"] for row in rows if row["currency"] is not None}
    return json_answer(pricing_document(plan, rows[0]["month"], by_currency))


@router.put("/pricing", responses=schemas.writing(PlanShown), openapi_extra=schemas.body(PricingBody))
async def put_pricing(request: Request, admin: AdminCaller, core: CoreOf) -> Response:
    """Set a merchant's plan; it holds for every charge assessed from now on. For administrators."""
    wanted = validate(PricingBody, await read_body(request))
    merchant = Merchant(merchant_id=wanted.merchant, mode=Mode(wanted.mode), actor=f"api_key:{admin.key_id}")
    if await core.reads.first(admin.scope, Statement(_MERCHANT, {"id": wanted.merchant})) is None:
        raise not_found("merchant")
    document = wanted.model_dump(by_alias=True, exclude={"merchant", "mode"})
    document = pricing_plan_document(pricing_plan_of(document))
    stored = await write_policy(core, merchant, "pricing", document)
    return json_answer({**stored, "merchant": wanted.merchant, "livemode": merchant.mode is Mode.LIVE})


def pricing_document(plan: PricingPlan, month: str, volumes: dict[str, int]) -> Document:
    """Return the plan as shown: each line with the tier that the month's volume has reached."""
    lines: list[dict[str, Any]] = pricing_plan_document(plan)["lines"]
    for line, shown in zip(plan.lines, lines, strict=True):
        shown["current_tier"] = _reached(line, volumes)
    currencies = sorted(set(DEFAULT_PRICES) | {line.currency for line in plan.lines})
    prices = {
        currency: price_document(plan.tier("*", currency, volumes.get(currency, 0)).price) for currency in currencies
    }
    return {
        "object": "pricing",
        **pricing_plan_document(plan),
        "lines": lines,
        "month": month,
        "month_volumes": volumes,
        "prices": prices,
    }


def _reached(line: PriceLine, volumes: dict[str, int]) -> int | None:
    """Return the `from` of the tier in effect; None for a line of any currency, where it depends on which."""
    if line.currency == "*":
        return None
    volume = volumes.get(line.currency, 0)
    return [tier.from_minor for tier in line.tiers if tier.from_minor <= volume][-1]
