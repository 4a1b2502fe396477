"""What every route works with, put together once per application."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.authentication import KeyDirectory
from api.errors import Problem
from api.metrics import HttpMetrics
from api.reading import Reads
from api.rendering import challenge_url
from api.services import Services
from api.starting import Flights
from domain.identifiers import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The services and what this application keeps beside them."""

    services: Services
    reads: Reads
    keys: KeyDirectory
    flights: Flights
    metrics: HttpMetrics

    def check_rail(self, name: str, flow: str) -> None:
        """Let `auto` and the rails that can do `flow` pass.

        Raises:
            Problem: 422, there is no such rail. Not retryable.
        """
        if name == "auto" or self.rail_can(name, flow):
            return
        raise Problem(422, "unknown_rail", f"No rail of this name can {flow}; see GET /v1/rails.", param="rail")

    def rail_can(self, name: str, flow: str) -> bool:
        """Tell whether there is a rail of this name that can do `flow`."""
        return any(
            profile["rail"] == name and flow in profile.get("flows", (flow,))
            for profile in self.services.rails.profiles()
        )

    def challenge_url(self, charge_id: str, mode: Mode) -> str:
        """Return where a customer would authenticate: the sandbox's page in test mode."""
        if mode is not Mode.TEST:
            return ""
        return challenge_url(self.services.public_url, self.services.challenge_secret, charge_id)


async def core_of(request: Request) -> Core:
    """Return the application's core. Async, because FastAPI runs plain functions in a thread."""
    core: Core = request.app.state.core
    return core


CoreOf = Annotated[Core, Depends(core_of)]
"""Injects the core into a route."""
