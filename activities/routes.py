"""Ranking rails for an order: the pure ranking of `rails/routing.py` fed with what this process knows.

Approval odds are refreshed in the background, never while a charge waits.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from activities.learned import LearnedCosts, cost_factors, decayed_counts
from domain.identifiers import Mode
from domain.rail import Flow, RouteOption
from domain.routing import RoutingPolicy
from rails.adapter import RailProfile
from rails.approval_odds import ApprovalOdds, Odds, Segment, amount_band
from rails.exploration import Exploration, explores
from rails.health import RailHealth
from rails.registry import Rails
from rails.routing import RoutingWeights, Search, rank

REFRESH_SECONDS = 10.0
LEARNING_FLOWS = (Flow.AUTHORIZE, Flow.PAYOUT)
AUTO = "auto"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteQuestion:
    """An order to be routed. `order_id` decides whether it looks for news; None: it never does."""

    flow: Flow
    mode: Mode
    amount_minor: int
    currency: str
    policy: RoutingPolicy
    forced: str
    destination: str | None = None
    brand: str | None = None
    country: str | None = None
    order_id: str | None = None

    @property
    def segment(self) -> Segment:
        """Return what the order has in common with others."""
        return Segment(
            brand=self.brand or "", country=self.country or "", band=amount_band(self.amount_minor, self.currency)
        )


class Router:
    """Ranks rails by the merchant's policy, learned approval odds and costs, and each rail's health."""

    def __init__(self, *, rails: Rails, health: RailHealth, pool: AsyncConnectionPool) -> None:
        self._rails = rails
        self._health = health
        self._pool = pool
        self._odds = {flow: ApprovalOdds() for flow in LEARNING_FLOWS}
        self._costs: LearnedCosts = {}
        self._refresher: asyncio.Task[None] | None = None

    def final_on_approval(self, route: Sequence[RouteOption]) -> tuple[str, ...]:
        """Return the rails of a route whose money is final with their approval."""
        return tuple(option.rail for option in route if self._rails.profile(option.rail).final_funds)

    async def start(self) -> None:
        """Read the odds once and keep them fresh until `stop`."""
        self._refresher = asyncio.create_task(self._keep_fresh(), name="approval odds")

    async def stop(self) -> None:
        """Stop refreshing. Idempotent."""
        if self._refresher is not None:
            self._refresher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refresher

    def rank(self, asked: RouteQuestion) -> tuple[RouteOption, ...]:
        """Return the route plan, best rail first; empty when no rail can do it. No I/O."""
        profiles = self._rails.profiles(
            asked.flow,
            asked.currency,
            asked.destination,
            live=asked.mode is Mode.LIVE,
            amount_minor=asked.amount_minor,
            brand=asked.brand,
        )
        odds = self._learned(asked, profiles)
        policy, now = asked.policy, datetime.now(UTC)
        exploration = Exploration(share=policy.exploration, loss_share_max=policy.exploration_loss_max)
        searching = asked.order_id is not None and explores(asked.order_id, exploration)
        return rank(
            amount_minor=asked.amount_minor,
            currency=asked.currency,
            profiles=profiles,
            approval_probability={rail: known.mean for rail, known in odds.items()},
            standings=self._health.standings(),
            weights=RoutingWeights(cost=policy.cost, approval=policy.approval, speed=policy.speed),
            forced_rail=None if asked.forced == AUTO else asked.forced,
            cost_factor={name: self._costs.get((name, asked.currency), 1.0) for name in odds},
            settlement_seconds={profile.name: profile.final_after_seconds(now) for profile in profiles},
            search=Search(odds=odds, exploration=exploration) if searching else None,
        )

    def _learned(self, asked: RouteQuestion, profiles: Sequence[RailProfile]) -> dict[str, Odds]:
        known, segment, now = self._odds[asked.flow], asked.segment, time.time()
        return {
            profile.name: known.odds(profile.name, segment, prior=profile.approval_prior, at_seconds=now)
            for profile in profiles
        }

    async def _keep_fresh(self) -> None:
        while True:
            try:
                for flow in LEARNING_FLOWS:
                    self._odds[flow].load(await decayed_counts(self._pool, flow))
                self._costs = await cost_factors(self._pool)
            except (OperationalError, PoolTimeout) as error:
                _log.warning("what routing learned keeps its last values: %s", type(error).__name__)
            await asyncio.sleep(REFRESH_SECONDS)
