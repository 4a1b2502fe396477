"""Card traffic to train on: seeded, small, and entirely made up.

Honest about itself: every cardholder, merchant and fraudster here is synthetic and the patterns are
ours, so a model fitted on it knows these patterns and nothing about anybody's real customers.
Patterns: bursts that test stolen cards, cash-outs of high amounts at odd hours, foreign cards of new
customers, rapid repeated purchases, and a share of fraud that looks like everything else.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.identifiers import Mode
from risk.features import CURRENCY_CODES, EUR_MAGNITUDE, RiskFacts

START = datetime(2025, 1, 1, tzinfo=UTC)
SPAN_DAYS = 90
FRAUD_SHARE = 0.03
"""Share of fraudulent attempts aimed at; higher than in the field so that 120,000 rows hold enough."""

COUNTRIES = ("DE", "FR", "NL", "GB", "US", "ES", "IT", "PL")
_HOUR_WEIGHTS = (1, 1, 1, 1, 1, 2, 4, 6, 8, 10, 11, 12, 13, 12, 11, 11, 12, 13, 14, 14, 12, 9, 5, 2)
_HOME_CURRENCY = {"GB": "GBP", "US": "USD"}
_MISSED_SHARE = 0.03
"""Share of fraud nobody ever reported: labelled legitimate, as in every real data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFacts:
    """One attempt with what turned out to be true of it."""

    facts: RiskFacts
    fraud: bool
    pattern: str


@dataclass(slots=True, kw_only=True)
class _Card:
    number: int
    country: str
    brand: str
    token_at: datetime
    spend: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    at: datetime
    card: _Card
    merchant_country: str
    amount_eur: float
    new_customer: bool
    declined: bool
    pattern: str


def generate_traffic(*, rows: int, seed: int) -> list[LabelledFacts]:
    """Return `rows` attempts in order of time; the same seed gives the same traffic.

    Velocity counts are replayed over the whole traffic exactly as serving counts them: attempts on
    the same card before this one.
    """
    rng = random.Random(seed)
    cards = [_new_card(rng, number, START - timedelta(days=rng.uniform(1, 400))) for number in range(rows // 20 + 50)]
    attempts: list[_Attempt] = []
    fraudulent = 0
    while fraudulent < rows * FRAUD_SHARE:
        burst = _fraud(rng, cards, len(cards) + fraudulent)
        fraudulent += len(burst)
        attempts.extend(burst)
    while len(attempts) < rows:
        attempts.extend(_ordinary(rng, cards, len(attempts)))
    attempts.sort(key=lambda attempt: attempt.at)
    return list(_replay(rng, attempts))[:rows]


def _new_card(rng: random.Random, number: int, token_at: datetime) -> _Card:
    return _Card(
        number=number,
        country=rng.choice(COUNTRIES),
        brand=rng.choices(("visa", "mastercard", "amex", "other"), (55, 35, 6, 4))[0],
        token_at=token_at,
        spend=rng.lognormvariate(3.6, 0.7),
    )


def _ordinary(rng: random.Random, cards: list[_Card], number: int) -> list[_Attempt]:
    at = _instant(rng, _HOUR_WEIGHTS)
    new_customer = rng.random() < 0.25
    if new_customer:
        card = _new_card(rng, 10_000_000 + number, at - timedelta(seconds=rng.expovariate(1 / 120)))
    else:
        card = cards[int(len(cards) * rng.random() ** 1.5)]
    merchant_country = card.country if rng.random() < 0.8 else rng.choice(COUNTRIES)
    amount = card.spend * rng.lognormvariate(0, 0.6)
    # Furniture and flights: rare, and mostly with merchants who know the customer.
    if rng.random() < (0.004 if new_customer else 0.015):
        amount *= rng.uniform(8, 25)
    # A mistyped code, a full limit: people try again, and that is not fraud.
    tries = 1 if rng.random() < 0.93 else rng.randint(2, 4)
    return [
        _Attempt(
            at=at + timedelta(seconds=45 * index * rng.uniform(0.5, 3)),
            card=card,
            merchant_country=merchant_country,
            amount_eur=amount,
            new_customer=new_customer,
            declined=index < tries - 1 or rng.random() < 0.03,
            pattern="ordinary",
        )
        for index in range(tries)
    ]


def _fraud(rng: random.Random, cards: list[_Card], number: int) -> list[_Attempt]:
    pattern = rng.choices(("testing", "cash_out", "foreign", "velocity", "quiet"), (8, 34, 30, 10, 18))[0]
    if pattern == "testing":
        return _testing_burst(rng, number)
    if pattern == "velocity":
        return _velocity_run(rng, cards)
    if pattern == "quiet":
        attempt = _ordinary(rng, cards, number)[0]
        return [_single(attempt.at, attempt.card, attempt.card.country, attempt.amount_eur, False, False, "quiet")]
    odd_hours = (6, 7, 8, 8, 6, 3) + (1,) * 18
    at = _instant(rng, odd_hours if pattern == "cash_out" else _HOUR_WEIGHTS)
    card = _new_card(rng, 20_000_000 + number, at - timedelta(seconds=rng.uniform(10, 1800)))
    abroad = rng.choice([country for country in COUNTRIES if country != card.country])
    amount = rng.lognormvariate(7.1, 0.5) if pattern == "cash_out" else rng.lognormvariate(6.0, 0.5)
    where = abroad if pattern == "foreign" or rng.random() < 0.7 else card.country
    return [_single(at, card, where, amount, True, rng.random() < 0.35, pattern)]


def _testing_burst(rng: random.Random, number: int) -> list[_Attempt]:
    at = _instant(rng, (1,) * 24)
    card = _new_card(rng, 30_000_000 + number, at - timedelta(seconds=rng.uniform(1, 600)))
    merchant_country = rng.choice(COUNTRIES)
    burst = []
    for _ in range(rng.randint(5, 20)):
        declined = rng.random() < 0.75
        burst.append(_single(at, card, merchant_country, rng.uniform(0.5, 6), True, declined, "testing"))
        at += timedelta(seconds=rng.uniform(2, 40))
    return burst


def _velocity_run(rng: random.Random, cards: list[_Card]) -> list[_Attempt]:
    card = rng.choice(cards)
    at = _instant(rng, (1,) * 24)
    run = []
    for _ in range(rng.randint(4, 10)):
        where = card.country if rng.random() < 0.4 else rng.choice(COUNTRIES)
        amount = card.spend * rng.uniform(1.5, 6)
        run.append(_single(at, card, where, amount, False, rng.random() < 0.3, "velocity"))
        at += timedelta(seconds=rng.uniform(20, 240))
    return run


def _single(
    at: datetime, card: _Card, where: str, amount: float, new_customer: bool, declined: bool, pattern: str
) -> _Attempt:
    return _Attempt(
        at=at,
        card=card,
        merchant_country=where,
        amount_eur=amount,
        new_customer=new_customer,
        declined=declined,
        pattern=pattern,
    )


def _instant(rng: random.Random, hour_weights: tuple[int, ...]) -> datetime:
    hour = rng.choices(range(24), hour_weights)[0]
    return START + timedelta(days=rng.randrange(SPAN_DAYS), hours=hour, seconds=rng.uniform(0, 3600))


def _replay(rng: random.Random, attempts: list[_Attempt]) -> Iterator[LabelledFacts]:
    seen: dict[int, deque[_Attempt]] = {}
    for attempt in attempts:
        earlier = seen.setdefault(attempt.card.number, deque())
        while earlier and attempt.at - earlier[0].at > timedelta(hours=24):
            earlier.popleft()
        recent = sum(1 for other in earlier if attempt.at - other.at <= timedelta(minutes=10))
        declines = sum(1 for other in earlier if other.declined)
        fraud = attempt.pattern != "ordinary" and rng.random() >= _MISSED_SHARE
        facts = _facts(rng, attempt, recent, len(earlier), declines)
        yield LabelledFacts(facts=facts, fraud=fraud, pattern=attempt.pattern)
        earlier.append(attempt)


def _facts(rng: random.Random, attempt: _Attempt, recent: int, day: int, declines: int) -> RiskFacts:
    currency = _HOME_CURRENCY.get(attempt.merchant_country, "EUR")
    if rng.random() < 0.05:
        currency = rng.choice(sorted(CURRENCY_CODES))
    places = 0 if currency == "JPY" else 2
    amount_minor = max(1, round(attempt.amount_eur / EUR_MAGNITUDE.get(currency, 1.0) * 10**places))
    # A token's age and a card's country are sometimes not known at serving either.
    known_age = max(0.0, (attempt.at - attempt.card.token_at).total_seconds()) if rng.random() < 0.97 else None
    return RiskFacts(
        source="",
        mode=Mode.LIVE,
        amount_minor=amount_minor,
        currency=currency,
        requested_at=attempt.at,
        merchant_country=attempt.merchant_country,
        bin_country=attempt.card.country if rng.random() < 0.85 else None,
        brand=attempt.card.brand,
        token_age_seconds=known_age,
        attempts_10_minutes=recent,
        attempts_24_hours=day,
        declines_24_hours=declines,
        is_new_customer=attempt.new_customer,
    )
