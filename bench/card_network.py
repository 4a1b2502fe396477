"""A world of cards and rails whose truth the router never sees: odds that differ by segment, drift and fail.

Every draw comes from the seed and the charge's number, never from what was asked before, so that every
contender meets the same world: the same charge at the same rail ends the same way.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.rail import Flow
from rails.adapter import RailPrice, RailProfile

DAY_SECONDS = 86_400.0

BRANDS = (("visa", 0.52), ("mastercard", 0.36), ("amex", 0.12))
COUNTRIES = (("DE", 0.4), ("FR", 0.25), ("GB", 0.2), ("US", 0.15))
HARD_DECLINES = 0.05
"""Cards that no rail would get approved: stolen, closed, blocked."""

WILLINGNESS_NODES = (-1.6, -0.8, 0.0, 0.8, 1.6)
"""How willing the issuer is, in logits: hidden from everybody, shared by all rails of one charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRail:
    """The truth of one rail, in logits: a base, offsets by brand and country, and how far the base drifts."""

    name: str
    basis_points: int
    fixed_minor: int
    settlement_seconds: float
    base: float
    drift: float
    brand: Mapping[str, float]
    country: Mapping[str, float]


RAILS = (
    NetworkRail(
        name="north",
        basis_points=95,
        fixed_minor=12,
        settlement_seconds=DAY_SECONDS,
        base=3.2,
        drift=0.45,
        brand={"amex": -0.7},
        country={"DE": 0.5, "US": -0.9},
    ),
    NetworkRail(
        name="west",
        basis_points=85,
        fixed_minor=15,
        settlement_seconds=DAY_SECONDS,
        base=3.1,
        drift=0.5,
        brand={"visa": 0.3, "mastercard": -0.3},
        country={"US": 0.8, "DE": -0.6},
    ),
    NetworkRail(
        name="south",
        basis_points=60,
        fixed_minor=10,
        settlement_seconds=2 * DAY_SECONDS,
        base=2.8,
        drift=0.6,
        brand={"mastercard": 0.5},
        country={"FR": 0.6},
    ),
    NetworkRail(
        name="east",
        basis_points=45,
        fixed_minor=20,
        settlement_seconds=3 * DAY_SECONDS,
        base=2.5,
        drift=0.6,
        brand={"amex": 0.8},
        country={"GB": 0.9},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One charge of the world. Hidden from everybody: whether its card is any good, and how willing its issuer is."""

    number: int
    at_seconds: float
    amount_minor: int
    brand: str
    country: str
    bad_card: bool
    willingness: float


class CardNetwork:
    """The world of one seed. `contracts` is what the rails' contracts say; everything else is truth."""

    currency = "EUR"

    def __init__(self, *, seed: int, days: float) -> None:
        self._seed = seed
        self._days = days
        chance = random.Random(f"{seed}/world")
        self._waves = {
            rail.name: [(chance.uniform(2.0, 9.0), chance.uniform(0.0, math.tau)) for _ in range(3)] for rail in RAILS
        }
        self._outages = {rail.name: self._draw_outages(chance) for rail in RAILS}

    def _draw_outages(self, chance: random.Random) -> list[tuple[float, float]]:
        """Return times at which the rail refuses everybody: every few days, for half an hour to four hours."""
        times, at = [], chance.expovariate(1 / (4 * DAY_SECONDS))
        while at < self._days * DAY_SECONDS:
            length = chance.uniform(1_800.0, 14_400.0)
            times.append((at, at + length))
            at += length + chance.expovariate(1 / (4 * DAY_SECONDS))
        return times

    @property
    def outage_hours(self) -> float:
        """Return the hours of outage, all rails together."""
        return sum(end - start for times in self._outages.values() for start, end in times) / 3600.0

    def contracts(self) -> tuple[RailProfile, ...]:
        """Return what is known of the rails beforehand: prices, speed, and one prior for all."""
        return tuple(
            RailProfile(
                name=rail.name,
                kind="card",
                flows=frozenset({Flow.AUTHORIZE}),
                prices={self.currency: RailPrice(basis_points=rail.basis_points, fixed_minor=rail.fixed_minor)},
                settlement_seconds=rail.settlement_seconds,
                final_funds=False,
                idempotent=True,
                not_found_final_after_seconds=None,
                approval_prior=0.9,
            )
            for rail in RAILS
        )

    def order(self, number: int, count: int) -> Order:
        """Return charge `number` of `count`, spread evenly over the days."""
        chance = random.Random(f"{self._seed}/order/{number}")
        return Order(
            number=number,
            at_seconds=number / count * self._days * DAY_SECONDS,
            amount_minor=max(100, min(500_000, round(chance.lognormvariate(8.6, 1.0)))),
            brand=_drawn(chance, BRANDS),
            country=_drawn(chance, COUNTRIES),
            bad_card=chance.random() < HARD_DECLINES,
            willingness=chance.choice(WILLINGNESS_NODES),
        )

    def is_out(self, rail: str, at_seconds: float) -> bool:
        """Tell whether the rail refuses everybody now."""
        return any(start <= at_seconds < end for start, end in self._outages[rail])

    def answer(self, rail: NetworkRail, order: Order) -> str:
        """Return what the rail does with the order: approved, soft, hard or refused."""
        if self.is_out(rail.name, order.at_seconds):
            return "refused"
        if order.bad_card:
            return "hard"
        draw = random.Random(f"{self._seed}/{order.number}/{rail.name}").random()
        return "approved" if draw < self.probability(rail, order, order.willingness) else "soft"

    def probability(self, rail: NetworkRail, order: Order, willingness: float) -> float:
        """Return the truth: P(approve) of a good card at this rail, now, for an issuer so willing."""
        if self.is_out(rail.name, order.at_seconds):
            return 0.0
        days = order.at_seconds / DAY_SECONDS
        drift = sum(math.sin(days / period * math.tau + phase) for period, phase in self._waves[rail.name])
        logit = (
            rail.base
            + rail.drift * drift / math.sqrt(3)
            + rail.brand.get(order.brand, 0.0)
            + rail.country.get(order.country, 0.0)
            + willingness
        )
        return 1.0 / (1.0 + math.exp(-logit))

    def best_sequence(self, order: Order, attempts_max: int) -> tuple[NetworkRail, ...]:
        """Return the rails an oracle tries: it knows the truth but the issuer's mood and the card.

        After a soft decline it knows more of the mood, by Bayes.
        """
        belief = [1.0 / len(WILLINGNESS_NODES)] * len(WILLINGNESS_NODES)
        chosen: list[NetworkRail] = []
        while len(chosen) < min(attempts_max, len(RAILS)):
            odds = {
                rail.name: [self.probability(rail, order, mood) for mood in WILLINGNESS_NODES]
                for rail in RAILS
                if rail not in chosen
            }
            best = max(
                (rail for rail in RAILS if rail not in chosen),
                key=lambda rail: sum(map(_product, belief, odds[rail.name])),
            )
            chosen.append(best)
            belief = [share * (1.0 - p) for share, p in zip(belief, odds[best.name], strict=True)]
            whole = sum(belief) or 1.0
            belief = [share / whole for share in belief]
        return tuple(chosen)


def _drawn(chance: random.Random, choices: Sequence[tuple[str, float]]) -> str:
    return chance.choices([name for name, _ in choices], [share for _, share in choices])[0]


def _product(first: float, second: float) -> float:
    return first * second
