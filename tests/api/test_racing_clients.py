"""Concurrent clients capture, void, refund and dispute the same charges in every order there is.

Seeded, against the real API, worker, database, Temporal and rails. `RACES` sets how many seeds.
"""

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest

from tests.api.conftest import Shop, World
from tests.api.relay import notices_about, tell
from tests.conftest import TestDatabase

Document = dict[str, Any]
SEEDS = int(os.environ.get("RACES", "3"))
CHARGES = 8
STAGGER_SECONDS_MAX = 0.03
FINAL_CAPTURE, PART_CAPTURE, VOID, REFUND = "final capture", "part capture", "void", "refund"


@dataclass
class Race:
    """One charge and what its clients asked for and were told."""

    charge: Document
    wanted: list[tuple[str, int]]
    told: list[tuple[str, int, httpx.Response]] = field(default_factory=list)

    def won(self, *kinds: str) -> list[int]:
        """The amounts of the requests of these kinds that were granted."""
        return [amount for kind, amount, answer in self.told if kind in kinds and answer.status_code in (200, 201)]


def draw(dice: random.Random, amount: int) -> list[tuple[str, int]]:
    """What the clients of one charge want, in the order they set off."""
    kinds = dice.choices((FINAL_CAPTURE, PART_CAPTURE, VOID, REFUND), (3, 2, 2, 3), k=dice.randint(3, 7))
    return [(kind, dice.choice((amount, amount // 2, amount // 3, 1))) for kind in kinds]


async def run(shop: Shop, dice: random.Random, race: Race) -> None:
    """Let all clients loose at nearly the same time."""

    async def one(kind: str, amount: int, delay: float) -> None:
        await asyncio.sleep(delay)
        charge = race.charge["id"]
        if kind == REFUND:
            answer = await shop.post("/refunds", {"charge": charge, "amount": amount})
        elif kind == VOID:
            answer = await shop.post(f"/charges/{charge}/void")
        else:
            answer = await shop.post(f"/charges/{charge}/capture", {"amount": amount, "final": kind == FINAL_CAPTURE})
        race.told.append((kind, amount, answer))

    delays = [dice.uniform(0, STAGGER_SECONDS_MAX) for _ in race.wanted]
    await asyncio.gather(*(one(kind, amount, delay) for (kind, amount), delay in zip(race.wanted, delays, strict=True)))


async def truth_of(rails_url: str) -> dict[str, Counter[str]]:
    """What the rails did for each charge, by kind: approved amounts, and how many approved voids."""
    async with httpx.AsyncClient(trust_env=False) as http:
        truth = (await http.get(f"{rails_url}/truth")).json()
    keys = {row["rail_key"]: row for row in truth["operations"]}
    done: dict[str, Counter[str]] = {}
    for row in truth["operations"]:
        if row["outcome"] != "approved":
            continue
        original = keys.get(row["original_rail_key"] or row["rail_key"], row)
        charge = original["rail_key"].split(":", 1)[0].split(".", 1)[0]
        count = done.setdefault(charge, Counter())
        count[row["kind"]] += 1 if row["kind"] == "void" else row["amount"]
    return done


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
async def test_no_interleaving_takes_or_returns_too_much(
    real_world: World, real_shop: Shop, rails_sandbox: str, seed: int
) -> None:
    dice = random.Random(seed)
    races = []
    for _ in range(CHARGES):
        amount = dice.randint(10, 9_000)
        body = {"amount": amount, "currency": "EUR", "source": "tok_visa_4291", "capture": False}
        races.append(Race((await real_shop.post("/charges", body)).json(), draw(dice, amount)))
    await real_shop.post(f"/accounts/{races[0].charge['account']}/fund", {"amount": 100_000})
    await asyncio.gather(*(run(real_shop, dice, race) for race in races))
    truth = await truth_of(rails_sandbox)
    for race in races:
        charge = await real_shop.get(f"/charges/{race.charge['id']}")
        done = truth[charge["id"]]
        captures, refunds = race.won(FINAL_CAPTURE, PART_CAPTURE), race.won(REFUND)
        finals, voids = race.won(FINAL_CAPTURE), race.won(VOID)
        told = f"seed {seed}: {race.wanted} -> {[(kind, answer.status_code) for kind, _, answer in race.told]}"
        assert all(answer.status_code in (200, 201, 409, 422) for _, _, answer in race.told), told
        assert sum(captures) == done["capture"] == charge["amount_captured"] <= charge["amount"], told
        assert sum(refunds) == done["refund"] == charge["amount_refunded"] <= charge["amount_captured"], told
        assert len(finals) + len(voids) <= 1 and len(voids) == done["void"], told
        assert not (voids and captures), told
        if {kind for kind, _ in race.wanted} <= {FINAL_CAPTURE, VOID}:
            assert len(finals) + len(voids) == 1, f"nobody won: {told}"
        if voids:
            assert charge["status"] == "voided", told
        if finals:
            assert charge["status"] in ("captured", "settled"), told


@pytest.mark.timeout(180)
async def test_exactly_one_of_two_racing_finals_wins(real_shop: Shop) -> None:
    body = {"amount": 5_000, "currency": "EUR", "source": "tok_visa_4291", "capture": False}
    charges = [(await real_shop.post("/charges", body)).json()["id"] for _ in range(12)]

    async def race(charge: str) -> list[int]:
        answers = await asyncio.gather(
            real_shop.post(f"/charges/{charge}/capture"),
            real_shop.post(f"/charges/{charge}/void"),
        )
        return sorted(answer.status_code for answer in answers)

    assert await asyncio.gather(*(race(charge) for charge in charges)) == [[200, 409]] * len(charges)


@pytest.mark.timeout(180)
async def test_refunds_racing_behind_a_dispute_return_nothing_more(
    real_world: World, real_shop: Shop, rails_sandbox: str
) -> None:
    charge = (await real_shop.post("/charges", {"amount": 4_000, "currency": "EUR", "source": "tok_disputed"})).json()
    await real_shop.post(f"/accounts/{charge['account']}/fund", {"amount": 100_000})
    (notice,) = await notices_about(rails_sandbox, charge["id"])
    assert (await tell(real_world, notice)).is_success
    await disputed(real_shop, charge["id"])
    answers = await asyncio.gather(
        *(real_shop.post("/refunds", {"charge": charge["id"], "amount": amount}) for amount in (4_000, 2_000, 1, 1))
    )
    assert {answer.status_code for answer in answers} == {422}
    assert (await truth_of(rails_sandbox))[charge["id"]]["refund"] == 0


@pytest.mark.timeout(180)
async def test_refunds_racing_a_chargeback_return_no_more_than_it_leaves(
    real_world: World, real_shop: Shop, rails_sandbox: str, database: TestDatabase
) -> None:
    """A chargeback always posts; a refund is granted only if its money was set aside before that."""
    dice = random.Random(17)
    body = {"amount": 4_000, "currency": "EUR", "source": "tok_disputed"}
    charges = [(await real_shop.post("/charges", body)).json() for _ in range(6)]
    await real_shop.post(f"/accounts/{charges[0]['account']}/fund", {"amount": 100_000})

    async def refund(charge: str, amount: int) -> None:
        await asyncio.sleep(dice.uniform(0, STAGGER_SECONDS_MAX))
        answer = await real_shop.post("/refunds", {"charge": charge, "amount": amount})
        assert answer.status_code in (201, 422), answer.text

    async def race(charge: str) -> None:
        (notice,) = await notices_about(rails_sandbox, charge)
        refunds = (refund(charge, dice.choice((4_000, 2_000, 1_500))) for _ in range(4))
        await asyncio.gather(tell(real_world, notice), *refunds)

    await asyncio.gather(*(race(charge["id"]) for charge in charges))
    truth = await truth_of(rails_sandbox)
    for charge in charges:
        dispute = await disputed(real_shop, charge["id"])
        refunds = (await real_shop.get("/refunds", charge=charge["id"], limit=100))["data"]
        returned = [one for one in refunds if one["status"] == "succeeded"]
        assert sum(one["amount"] for one in returned) == truth[charge["id"]]["refund"] <= 4_000
        taken_at = moved_at(database, dispute["id"], "chargeback")
        assert all(moved_at(database, one["id"], "refund_hold") < taken_at for one in returned)


def moved_at(database: TestDatabase, reference: str, kind: str) -> int:
    """The place of an object's movement in the order of commits."""
    with psycopg.connect(database.admin_url) as connection:
        query = "SELECT id FROM movements WHERE reference = %s AND kind = %s"
        ((movement,),) = connection.execute(query, (reference, kind)).fetchall()
    return int(movement)


async def disputed(shop: Shop, charge: str) -> Document:
    """The dispute of a charge, once there is one."""
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        if disputes := (await shop.get("/disputes", charge=charge))["data"]:
            return dict(disputes[0])
        assert asyncio.get_running_loop().time() < deadline, "the chargeback was never booked"
        await asyncio.sleep(0.1)
