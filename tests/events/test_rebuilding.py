"""What the API shows of an object is what its events say, read in sequence; and the chain shows any change."""

import copy
import random
from typing import Any

import pytest
from ledgerline_sdk import ChainError, ObjectMirror, verify_chain

from tests.api.conftest import Shop
from tests.events.conftest import until

CARDS = (
    *("tok_visa_4291", "tok_visa_4291", "tok_declined_soft", "tok_soft_then_approved", "tok_timeout_approved"),
    *("tok_not_attempted", "tok_3ds"),
)
PATHS = {"ch": "charges", "re": "refunds", "tr": "transfers", "po": "payouts"}
RESTING = ("settled", "captured", "declined", "authorized", "voided", "requires_action", "succeeded", "failed", "paid")


class Life:
    """A merchant that does this and that, by a seed."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop = shop
        self.chance = random.Random(seed)
        self.made: list[str] = []

    async def step(self) -> None:
        """One request of some kind; refused ones are part of it."""
        act = self.chance.choice((self.charge, self.charge, self.capture, self.refund, self.transfer, self.undo))
        answer = (await act()).json()
        found = answer if "id" in answer else next((answer[one] for one in ("charge", "refund") if one in answer), {})
        if found.get("id", "").split("_")[0] in PATHS:
            self.made.append(found["id"])

    async def charge(self) -> Any:
        terms = {"amount": self.chance.randrange(100, 9000), "currency": "EUR", "source": self.chance.choice(CARDS)}
        return await self.shop.post("/charges", {**terms, "capture": self.chance.random() < 0.6})

    async def capture(self) -> Any:
        return await self.shop.post(f"/charges/{self._some('ch')}/{self.chance.choice(('capture', 'void'))}")

    async def refund(self) -> Any:
        return await self.shop.post("/refunds", {"charge": self._some("ch"), "amount": self.chance.randrange(1, 500)})

    async def transfer(self) -> Any:
        accounts = {"source": "acct_life_a", "destination": "acct_life_b"}
        terms = {"amount": self.chance.randrange(1, 500), "currency": "EUR", "pending": self.chance.random() < 0.5}
        return await self.shop.post("/transfers", {**accounts, **terms})

    async def undo(self) -> Any:
        return await self.shop.post(f"/transfers/{self._some('tr')}/{self.chance.choice(('reverse', 'post', 'void'))}")

    def _some(self, prefix: str) -> str:
        return self.chance.choice([one for one in self.made if one.startswith(prefix)] or [f"{prefix}_none"])


async def all_events(shop: Shop) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while page := (await shop.get("/events", after=len(events), limit=100))["data"]:
        events += page
    return events


@pytest.mark.parametrize("seed", [2])
async def test_rule_32_events_in_sequence_rebuild_what_the_api_shows(seed: int, real_shop: Shop) -> None:
    for account in ("acct_life_a", "acct_life_b"):
        await real_shop.post("/accounts", {"currency": "EUR", "id": account})
    await real_shop.post("/accounts/acct_life_a/fund", {"amount": 5_000})
    life = Life(real_shop, seed)
    for _ in range(30):
        await life.step()

    async def shown() -> dict[str, Any]:
        names = sorted(set(life.made))
        return {one: await real_shop.get(f"/{PATHS[one.split('_')[0]]}/{one}") for one in names}

    async def at_rest() -> bool:
        return all(one["status"] in (*RESTING, "pending") for one in (await shown()).values())

    await until(at_rest, seconds=30)
    objects, events = await shown(), await all_events(real_shop)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    mirror = ObjectMirror()
    for event in events:
        mirror.apply(event)
    assert len(objects) >= 8
    assert {one: mirror.get(one) for one in objects} == objects
    assert verify_chain(events) == len(events)
    for place in (1, len(events) // 2, len(events) - 1):
        changed = copy.deepcopy(events)
        changed[place]["data"]["object"]["metadata"] = {"changed": "yes"}
        with pytest.raises(ChainError) as found:
            verify_chain(changed)
        assert found.value.sequence == place + 1
        with pytest.raises(ChainError):
            verify_chain(events[:place] + events[place + 1 :] if place < len(events) - 1 else events[::-1])
