"""What the merchant pays per charge."""

from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

from api import schemas
from api.authentication import MerchantCaller
from api.context import CoreOf
from api.policies import read_policy
from api.rendering import json_answer
from domain.pricing import DEFAULT_PRICES

router = APIRouter(prefix="/v1", tags=["pricing"])


class PriceShown(schemas.Shown):
    """A price: 1/10000 of the amount, and minor units."""

    basis_points: int
    fixed: int


class Pricing(schemas.Shown):
    """Prices by currency; `*` is every other."""

    object: Literal["pricing"]
    prices: dict[str, PriceShown]


@router.get("/pricing", responses=schemas.reading(Pricing))
async def get_pricing(merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return prices by currency: `basis_points` (1/10000 of the amount) plus `fixed` minor units; `*` for others."""
    stored, _ = await read_policy(core, merchant, "pricing")
    listed = {
        currency: {"basis_points": price.basis_points, "fixed": price.fixed_minor}
        for currency, price in DEFAULT_PRICES.items()
    }
    return json_answer({"object": "pricing", "prices": stored["prices"] if stored else listed})
