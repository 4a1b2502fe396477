"""Ranking rails for an order: the pure ranking of `rails/routing.py` fed with what this process knows.

Approval odds are refreshed in the background, never while a charge waits.
"""

import asyncio
import contextlib
import logging

from psycopg import OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from activities.stored_attempts import attempt_counts
from domain.identifiers import Mode
from domain.rail import Flow, RouteOption
from domain.routing import RoutingPolicy
from rails.approval_odds import AttemptCounts, approval_probabilities
from rails.health import RailHealth
from rails.registry import Rails
from rails.routing import RoutingWeights, rank

REFRESH_SECONDS = 10.0
AUTO = "auto"

_log = logging.getLogger(__name__)


class Router:
    """Ranks rails by the merchant's policy, learned approval odds and each rail's health."""

    def __init__(self, *, rails: Rails, health: RailHealth, pool: AsyncConnectionPool) -> None:
        self._rails = rails
        self._health = health
        self._pool = pool
        self._counts: dict[Flow, dict[str, AttemptCounts]] = {}
        self._refresher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the odds once and keep them fresh until `stop`."""
        self._refresher = asyncio.create_task(self._keep_fresh(), name="approval odds")

    async def stop(self) -> None:
        """Stop refreshing. Idempotent."""
        if self._refresher is not None:
            self._refresher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refresher

    def rank(
        self,
        *,
        flow: Flow,
        mode: Mode,
        amount_minor: int,
        currency: str,
        policy: RoutingPolicy,
        forced: str,
        destination: str | None = None,
    ) -> tuple[RouteOption, ...]:
        """Return the route plan, best rail first; empty when no rail can do it. No I/O."""
        profiles = self._rails.profiles(flow, currency, destination, live=mode is Mode.LIVE)
        priors = {profile.name: profile.approval_prior for profile in profiles}
        return rank(
            amount_minor=amount_minor,
            currency=currency,
            profiles=profiles,
            approval_probability=approval_probabilities(priors, self._counts.get(flow, {})),
            standings=self._health.standings(),
            weights=RoutingWeights(cost=policy.cost, approval=policy.approval, speed=policy.speed),
            forced_rail=None if forced == AUTO else forced,
        )

    async def _keep_fresh(self) -> None:
        while True:
            for flow in (Flow.AUTHORIZE, Flow.PAYOUT):
                try:
                    self._counts[flow] = await attempt_counts(self._pool, flow)
                except (OperationalError, PoolTimeout) as error:
                    _log.warning("approval odds keep their last values: %s", type(error).__name__)
            await asyncio.sleep(REFRESH_SECONDS)
