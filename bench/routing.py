"""The routing suite: `auto` beside every single rail and an oracle, in one world whose truth none but the oracle knows.

The contenders run the product's own ranking, learning, exploration and circuit breakers on a clock of
the world's; nothing is tuned to it. All meet the same charges and the same answers.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.arithmetic import percentile
from bench.card_network import RAILS, CardNetwork, Order
from domain.rail import Outcome, RouteOption
from domain.routing import RoutingPolicy
from rails.approval_odds import ApprovalOdds, Segment, amount_band
from rails.exploration import Exploration, explores
from rails.health import RailHealth
from rails.routing import RoutingWeights, Search, landed_cost_minor, rank

BY_NAME = {rail.name: rail for rail in RAILS}
CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class RoutingPlan:
    """How much is run: charges, days they are spread over, attempts, and the world's seed."""

    charges: int = 50_000
    days: float = 25.0
    attempts_max: int = 3
    seed: int = 1


@dataclass(slots=True)
class Tally:
    """What a contender achieved."""

    name: str
    approved: int = 0
    approved_minor: int = 0
    cost_minor: float = 0.0
    attempts: int = 0
    approvals: list[int] = field(default_factory=list)

    def take(self, order: Order, rail: str | None, tries: int) -> None:
        """Count one charge: approved by `rail`, or by none."""
        self.attempts += tries
        if rail is not None:
            self.approved += 1
            self.approved_minor += order.amount_minor
            self.cost_minor += landed_cost_minor(CONTRACTS[rail].prices[CardNetwork.currency], order.amount_minor)
        self.approvals.append(self.approved)

    def row(self) -> dict[str, Any]:
        """Return the contender's line of the table; costs in basis points of what was approved."""
        count = len(self.approvals)
        return {
            "name": self.name,
            "approval_rate": self.approved / count,
            "cost_basis_points": self.cost_minor / self.approved_minor * 10_000 if self.approved_minor else None,
            "cost_per_approval_minor": self.cost_minor / self.approved if self.approved else None,
            "attempts_per_charge": self.attempts / count,
        }


CONTRACTS = {profile.name: profile for profile in CardNetwork(seed=0, days=1.0).contracts()}


class AutoRouter:
    """The product's decision on the world's clock: ranking, learned odds, exploration, breakers."""

    def __init__(self, policy: RoutingPolicy, seed: int) -> None:
        self._policy = policy
        self._seed = seed
        self._now = 0.0
        self._odds = ApprovalOdds()
        self._health = RailHealth(clock=lambda: self._now)
        self._exploration = Exploration(share=policy.exploration, loss_share_max=policy.exploration_loss_max)
        self._weights = RoutingWeights(cost=policy.cost, approval=policy.approval, speed=policy.speed)
        self.decision_seconds: list[float] = []

    def decide(self, order: Order) -> tuple[RouteOption, ...]:
        """Return the plan for an order, and note the CPU time that took: others on the machine are not its cost."""
        self._now = order.at_seconds
        started = time.thread_time()
        segment = segment_of(order)
        odds = {
            name: self._odds.odds(name, segment, prior=profile.approval_prior, at_seconds=order.at_seconds)
            for name, profile in CONTRACTS.items()
        }
        searching = explores(f"{self._seed}/{order.number}", self._exploration)
        plan = rank(
            amount_minor=order.amount_minor,
            currency=CardNetwork.currency,
            profiles=tuple(CONTRACTS.values()),
            approval_probability={name: known.mean for name, known in odds.items()},
            standings=self._health.standings(),
            weights=self._weights,
            search=Search(odds=odds, exploration=self._exploration) if searching else None,
        )
        self.decision_seconds.append(time.thread_time() - started)
        return plan

    def learn(self, order: Order, rail: str, answer: str, *, retry: bool) -> None:
        """Take in what a rail answered, as the product does."""
        self._health.note_sent(rail)
        self._health.record(rail, Outcome.NOT_ATTEMPTED if answer == "refused" else Outcome.APPROVED)
        if answer in ("approved", "soft"):
            approved = answer == "approved"
            self._odds.record(rail, segment_of(order, retry=retry), approved=approved, at_seconds=order.at_seconds)


def segment_of(order: Order, *, retry: bool = False) -> Segment:
    """Return what the router sees of an order."""
    band = amount_band(order.amount_minor, CardNetwork.currency)
    return Segment(brand=order.brand, country=order.country, band=band, retry=retry)


def measure_routing(plan: RoutingPlan, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return the document of the suite: a row for each contender, the regret curve, decision times."""
    network = CardNetwork(seed=plan.seed, days=plan.days)
    orders = [network.order(number, plan.charges) for number in range(plan.charges)]
    hours = network.outage_hours
    progress(f"{plan.charges} charges over {plan.days:g} days, {hours:.0f} hours of outages, seed {plan.seed}")
    singles = [_single(network, orders, rail.name) for rail in RAILS]
    oracle = _oracle(network, orders, plan.attempts_max, "oracle")
    oracle_once = _oracle(network, orders, 1, "oracle, one attempt")
    default = RoutingPolicy(attempts_max=plan.attempts_max)
    auto, router = _auto(network, orders, default, "auto", plan.seed)
    contenders = {
        "auto, one attempt": RoutingPolicy(attempts_max=1),
        "auto, no exploration": RoutingPolicy(attempts_max=plan.attempts_max, exploration=0.0),
        "auto, cost weighs 10": RoutingPolicy(attempts_max=plan.attempts_max, cost=10.0),
        "auto, cost weighs 40": RoutingPolicy(attempts_max=plan.attempts_max, cost=40.0),
    }
    variants = []
    for name, policy in contenders.items():
        progress(name)
        variants.append(_auto(network, orders, policy, name, plan.seed)[0])
    return _document(plan, network, singles, [oracle, oracle_once], [auto, *variants], router)


def _single(network: CardNetwork, orders: Sequence[Order], name: str) -> Tally:
    tally = Tally(name)
    for order in orders:
        tally.take(order, name if network.answer(BY_NAME[name], order) == "approved" else None, 1)
    return tally


def _oracle(network: CardNetwork, orders: Sequence[Order], attempts_max: int, name: str) -> Tally:
    tally = Tally(name)
    for order in orders:
        rails = [rail.name for rail in network.best_sequence(order, attempts_max)]
        tally.take(order, *_tried(network, order, rails, attempts_max))
    return tally


def _auto(
    network: CardNetwork, orders: Sequence[Order], policy: RoutingPolicy, name: str, seed: int
) -> tuple[Tally, AutoRouter]:
    tally, router = Tally(name), AutoRouter(policy, seed)
    for order in orders:
        rails = [option.rail for option in router.decide(order)]
        tally.take(order, *_tried(network, order, rails, policy.attempts_max, router))
    return tally, router


def _tried(
    network: CardNetwork, order: Order, rails: Iterable[str], attempts_max: int, learner: AutoRouter | None = None
) -> tuple[str | None, int]:
    """Return the rail that approved, or None, and the attempts it took: rule 12's failover."""
    tries, declined = 0, False
    for rail in rails:
        if tries == attempts_max:
            break
        tries += 1
        answer = network.answer(BY_NAME[rail], order)
        if learner is not None:
            learner.learn(order, rail, answer, retry=declined)
        if answer == "approved":
            return rail, tries
        if answer == "hard":
            break
        declined = declined or answer == "soft"
    return None, tries


def _document(
    plan: RoutingPlan,
    network: CardNetwork,
    singles: list[Tally],
    oracles: list[Tally],
    autos: list[Tally],
    router: AutoRouter,
) -> dict[str, Any]:
    best = max(singles, key=lambda tally: tally.approved)
    auto, oracle = autos[0], oracles[0]
    milliseconds = sorted(1_000.0 * seconds for seconds in router.decision_seconds)
    frugal = [
        tally.row()
        for tally in autos
        if tally.approved >= best.approved and tally.cost_minor / tally.approved < best.cost_minor / best.approved
    ]
    step = max(1, plan.charges // CURVE_POINTS)
    return {
        "suite": "routing",
        "command": f"ledgerline bench routing --charges {plan.charges} --seed {plan.seed}",
        "charges": plan.charges,
        "days": plan.days,
        "seed": plan.seed,
        "outage_hours": network.outage_hours,
        "contenders": [tally.row() for tally in (*singles, *autos, *oracles)],
        "best_single_rail": best.name,
        "points_above_best_single": 100 * (auto.approved - best.approved) / plan.charges,
        "points_below_oracle": 100 * (oracle.approved - auto.approved) / plan.charges,
        "cheaper_at_no_fewer_approvals": frugal,
        "decision_cpu_ms": {name: percentile(milliseconds, share) for name, share in (("p50", 50), ("p99", 99))},
        "regret": [
            {"charges": number + 1, "auto": oracle.approvals[number] - auto.approvals[number]}
            | {best.name: oracle.approvals[number] - best.approvals[number]}
            for number in range(step - 1, plan.charges, step)
        ],
    }
