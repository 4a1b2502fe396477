"""The rails one can be routed to."""

from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

from api import schemas
from api.authentication import Caller
from api.context import CoreOf
from api.rendering import list_answer

router = APIRouter(prefix="/v1", tags=["rails"])


class RailShown(schemas.Shown):
    """A rail: what it can do and what is known of its price and speed."""

    object: Literal["rail"]
    rail: str
    flows: list[str]
    settlement_seconds: float


@router.get("/rails", responses=schemas.listing(RailShown))
async def list_rails(principal: Caller, core: CoreOf) -> Response:
    """Return the rails, what each can do and what is known of its price and speed."""
    return list_answer([{"object": "rail", **profile} for profile in core.services.rails.profiles()], False)
