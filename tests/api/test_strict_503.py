"""A 503 promises that nothing happened and nothing will, also when Temporal fails in the middle of a start."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from temporalio.service import RPCError, RPCStatusCode

from tests.api.conftest import Shop, World, client_of
from tests.api.problems import assert_problem
from tests.api.test_life_of_money import CARD, authorized, await_status, balance


class LostAnswers:
    """A Temporal that takes a start `late_seconds` after its client has given up, and never answers in time."""

    def __init__(self, client: Any, late_seconds: float | None) -> None:
        self._client = client
        self._late_seconds = late_seconds
        self.late: list[asyncio.Task[Any]] = []

    async def start_workflow(self, *arguments: Any, **options: Any) -> None:
        """Start it now or later; the answer is lost either way."""
        options.pop("rpc_timeout")
        if self._late_seconds is None:
            await self._client.start_workflow(*arguments, **options)
        else:
            self.late.append(asyncio.create_task(self._start_late(arguments, options)))
        raise RPCError("transport closed", RPCStatusCode.UNAVAILABLE, b"")

    async def _start_late(self, arguments: Any, options: Any) -> None:
        await asyncio.sleep(self._late_seconds or 0)
        handle = await self._client.start_workflow(*arguments, **options)
        try:
            await handle.result()
        except Exception as failure:
            self.ended = failure


def authorizations(rails_sandbox: str) -> list[dict[str, Any]]:
    """Everything the rails were asked to authorize."""
    operations = httpx.get(f"{rails_sandbox}/truth", trust_env=False).json()["operations"]
    return [row for row in operations if row["kind"] == "authorize"]


async def losing(world: World, late_seconds: float | None) -> tuple[Shop, Shop, LostAnswers]:
    """A merchant at an API whose Temporal loses answers, and the same merchant at a healthy one."""
    healthy = await world.shop()
    temporal = LostAnswers(world.services.temporal, late_seconds)
    http = client_of(replace(world.services, temporal=temporal, sync_budget_seconds=5.0))  # type: ignore[arg-type]
    return Shop(http, healthy.key, healthy.merchant_id), healthy, temporal


@pytest.mark.parametrize("kind", ["charge", "transfer", "payout"])
async def test_a_503_is_kept_though_the_start_arrives_late(real_world: World, rails_sandbox: str, kind: str) -> None:
    shop, healthy, temporal = await losing(real_world, 0.5)
    for account in ("acct_a", "acct_b"):
        assert (await healthy.post("/accounts", {"currency": "EUR", "id": account})).status_code == 201
    await healthy.post("/accounts/acct_a/fund", {"amount": 9000})
    iban = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada Lovelace"}
    path, body = {
        "charge": ("/charges", {**CARD, "account": "acct_b"}),
        "transfer": ("/transfers", {"amount": 9000, "currency": "EUR", "source": "acct_a", "destination": "acct_b"}),
        "payout": ("/payouts", {"amount": 9000, "currency": "EUR", "source": "acct_a", "destination": iban}),
    }[kind]
    before = len(authorizations(rails_sandbox))
    assert_problem(await shop.post(path, body, key=kind), 503, "temporarily_unavailable")
    await asyncio.wait_for(asyncio.gather(*temporal.late), 20)
    assert "failed" in str(temporal.ended).lower(), "the run that came late ends without doing anything"
    assert len(authorizations(rails_sandbox)) == before
    assert (await balance(healthy, "acct_a"))["posted"] == 9000 and (await balance(healthy, "acct_b"))["posted"] == 0
    again = await healthy.post(path, body, key=kind)
    assert again.status_code in (201, 202), again.text
    assert len(authorizations(rails_sandbox)) == before + (kind == "charge")
    assert_problem(await shop.post(path, {**body, "amount": 1}, key=kind), 422, "idempotency_key_reused")


async def test_a_start_that_got_through_is_answered_with_its_outcome(real_world: World, rails_sandbox: str) -> None:
    shop, healthy, _ = await losing(real_world, None)
    before = len(authorizations(rails_sandbox))
    answer = await shop.post("/charges", CARD, key="through")
    if answer.status_code == 503:  # the API was first: then nothing may have happened, now or later
        await asyncio.sleep(1)
        assert len(authorizations(rails_sandbox)) == before
        answer = await healthy.post("/charges", CARD, key="through")
    assert answer.status_code == 201 and answer.json()["status"] == "settled", answer.text
    assert len(authorizations(rails_sandbox)) == before + 1


async def test_an_update_without_an_answer_is_not_called_undone(real_world: World) -> None:
    """The capture got there, the answer did not: 202 and the charge as it stands, and a repeat tells the rest."""
    healthy = await real_world.shop()
    charge = await authorized(healthy)

    class Handle:
        def __init__(self, handle: Any) -> None:
            self._handle = handle

        async def execute_update(self, *arguments: Any, **options: Any) -> None:
            await self._handle.execute_update(*arguments, **options)
            raise RPCError("transport closed", RPCStatusCode.UNAVAILABLE, b"")

    class Temporal:
        def get_workflow_handle(self, name: str) -> Handle:
            return Handle(real_world.services.temporal.get_workflow_handle(name))

    http = client_of(replace(real_world.services, temporal=Temporal()))  # type: ignore[arg-type]
    shop = Shop(http, healthy.key, healthy.merchant_id)
    answer = await shop.post(f"/charges/{charge['id']}/capture", key="lost")
    assert answer.status_code == 202 and answer.headers["retry-after"]
    await await_status(healthy, f"/charges/{charge['id']}", "settled")
    again = await healthy.post(f"/charges/{charge['id']}/capture", key="lost")
    assert again.status_code == 200 and again.headers["idempotent-replayed"] == "true"
