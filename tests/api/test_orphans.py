"""A rail corrects itself after the charge had ended: the money goes to suspense and back (semantics rule 10)."""

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import httpx
import pytest

from tests.api.conftest import CALLBACK_SECRET, World
from tests.api.test_life_of_money import CARD, await_status, balance


def signed(body: bytes) -> dict[str, str]:
    """The header of a rail's notice."""
    stamp = int(time.time())
    digest = hmac.new(CALLBACK_SECRET, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Rail-Signature": f"t={stamp},v1={digest}"}


async def tell(world: World, rail: str, notice: dict[str, Any]) -> httpx.Response:
    """Deliver a rail's notice."""
    body = json.dumps({"type": "order.outcome", "rail": rail, **notice}).encode()
    return await world.http.post(f"/v1/rails/{rail}/callbacks", content=body, headers=signed(body))


def truth(rails_sandbox: str) -> Any:
    """What the rails really did."""
    return httpx.get(f"{rails_sandbox}/truth", trust_env=False).json()


def correction(rails_sandbox: str, rail_key: str) -> dict[str, Any]:
    """What the rail has to say about an order of ours."""
    (told,) = [one for one in truth(rails_sandbox)["notices"] if one["rail_key"] == rail_key]
    return {name: told[name] for name in ("rail_key", "effect_key", "reference", "outcome", "amount", "currency")}


def orphan_of(answer: httpx.Response) -> str:
    """The exception a notice opened."""
    (notice,) = answer.json()["notices"]
    assert notice["object"].startswith("exc_orphan_"), answer.text
    return str(notice["object"])


def inject(rails_sandbox: str, fault: Any) -> None:
    """Let the rails fail."""
    httpx.post(f"{rails_sandbox}/faults", json=fault, trust_env=False).raise_for_status()


async def suspense(world: World) -> int:
    """What the suspense account holds, in cents."""
    book = await (await world.admin()).get("/ledger/trial_balance")
    return sum(row["posted"] for row in book["accounts"] if row["account"].startswith("suspense:EUR"))


@pytest.mark.parametrize("capture", [True, False])
async def test_rule_10_a_late_success_after_failover(real_world: World, rails_sandbox: str, capture: bool) -> None:
    shop = await real_world.shop()
    charge = (await shop.post("/charges", {**CARD, "source": "tok_late_approved", "capture": capture})).json()
    first, second = charge["attempts"]
    assert (first["outcome"], second["outcome"]) == ("declined", "approved")
    before = await balance(shop, charge["account"])
    await asyncio.sleep(1.2)  # the rail corrects itself
    notice = correction(rails_sandbox, f"{charge['id']}:1")
    answers = [await tell(real_world, first["rail"], notice) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert [answer.json()["duplicate"] for answer in answers] == [False, True]
    exception_id = orphan_of(answers[0])
    exception = await await_status(shop, f"/reconciliation/exceptions/{exception_id}", "resolved")
    assert (exception["kind"], exception["subject"]) == ("orphan", charge["id"])
    reversal = exception["orphan"]["reversal_key"]
    rows = [row for row in truth(rails_sandbox)["operations"] if row["rail_key"].startswith(charge["id"])]
    done = {(row["kind"], row["rail_key"], row["outcome"]) for row in rows}
    assert (("refund" if capture else "void"), reversal, "approved") in done
    assert await suspense(real_world) == 0
    after = await balance(shop, charge["account"])
    assert all(after[name] == before[name] for name in ("posted", "pending_credits", "pending_debits", "available"))
    events = [event["type"] for event in (await shop.get("/events", limit=50))["data"]]
    assert events.count("charge.orphan_detected") == events.count("charge.orphan_reversed") == 1
    assert (await shop.get(f"/charges/{charge['id']}"))["status"] == charge["status"]


async def test_rule_10_an_effect_done_twice_is_given_back_once(real_world: World, rails_sandbox: str) -> None:
    shop = await real_world.shop()
    inject(rails_sandbox, {"kind": "twice", "flow": "authorize", "count": 1})
    charge = (await shop.post("/charges", CARD)).json()
    assert charge["status"] == "settled"
    answer = await tell(real_world, charge["rail"], correction(rails_sandbox, f"{charge['id']}:1"))
    exception = await await_status(shop, f"/reconciliation/exceptions/{orphan_of(answer)}", "resolved")
    assert exception["orphan"]["effect_key"] == f"{charge['id']}:1#2"
    sums = {"sale": 0, "refund": 0}
    for row in truth(rails_sandbox)["operations"]:
        if row["rail_key"].startswith(charge["id"]) and row["outcome"] == "approved":
            sums["refund" if row["kind"] == "refund" else "sale"] += row["amount"]
    assert sums == {"sale": 2 * 8420, "refund": 8420} and await suspense(real_world) == 0


async def test_a_notice_that_says_what_the_books_say_changes_nothing(real_world: World) -> None:
    shop = await real_world.shop()
    charge = (await shop.post("/charges", CARD)).json()
    key = f"{charge['id']}:1"
    notice = {
        "rail_key": key,
        "effect_key": key,
        "reference": "r",
        "outcome": "approved",
        "amount": 1,
        "currency": "EUR",
    }
    answer = await tell(real_world, charge["rail"], notice)
    assert [one["object"] for one in answer.json()["notices"]] == [charge["id"]]
    assert (await shop.get("/reconciliation/exceptions"))["data"] == []
