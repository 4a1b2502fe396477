"""One key, one operation: on a real Temporal server, a real database and real rails (semantics rules 1-5)."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import psycopg
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from api.app import create_app
from domain.outcomes import OutcomeBoard
from tests.api.conftest import Shop, UnreachableTemporal, World, client_of
from tests.api.problems import assert_problem

PAGE = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291", "rail": "auto", "capture": True}


async def rows(database: Any, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(database.admin_url) as connection:
        return await (await connection.execute(sql.encode(), parameters)).fetchall()


def authorizations(rails_sandbox: str, charge_id: str) -> list[dict[str, Any]]:
    operations = httpx.get(f"{rails_sandbox}/truth", trust_env=False).json()["operations"]
    return [row for row in operations if row["rail_key"].startswith(f"{charge_id}:")]


async def test_rule_04_200_at_once_from_two_processes_are_one_charge(
    real_world: World, database: Any, rails_sandbox: str
) -> None:
    shop = await real_world.shop()
    # A second process shares nothing with the first but Temporal and PostgreSQL: its board stays silent.
    async with client_of(replace(real_world.services, board=OutcomeBoard())) as other:
        twin = Shop(other, shop.key, shop.merchant_id)
        posts = [(shop if turn % 2 else twin).post("/charges", PAGE, key="ord_7741") for turn in range(200)]
        answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    charge = answers[0].json()
    assert (charge["status"], charge["fee"]) == ("settled", 158)
    assert len(authorizations(rails_sandbox, charge["id"])) == 1
    posted = await rows(database, "SELECT count(*) FROM ledger_transactions WHERE reference = %s", charge["id"])
    moved = await rows(database, "SELECT count(DISTINCT ledger_transaction_id) FROM movements WHERE reference = %s",
                       charge["id"])  # fmt: skip
    assert moved == [(1,)] and posted[0][0] >= 1
    assert (await shop.get(f"/charges/{charge['id']}")) == charge


async def test_rule_01_a_key_outlives_the_run_that_temporal_forgets(real_world: World, rails_sandbox: str) -> None:
    """One space of keys over all endpoints, in PostgreSQL for ever: Temporal's retention ends, ours does not."""
    shop = await real_world.shop()
    first = await shop.post("/charges", PAGE, key="for ever")
    temporal = real_world.services.temporal
    execution = WorkflowExecution(workflow_id=f"{shop.merchant_id}/test/for ever")
    purge = DeleteWorkflowExecutionRequest(namespace=temporal.namespace, workflow_execution=execution)
    await temporal.workflow_service.delete_workflow_execution(purge)
    for _ in range(200):
        try:
            await temporal.get_workflow_handle(execution.workflow_id).describe()
        except RPCError as error:
            assert error.status is RPCStatusCode.NOT_FOUND
            break
        await asyncio.sleep(0.1)
    again = await shop.post("/charges", PAGE, key="for ever")
    assert again.status_code == 201 and again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(authorizations(rails_sandbox, first.json()["id"])) == 1
    elsewhere = await shop.post("/accounts", {"currency": "EUR"}, key="for ever")
    assert_problem(elsewhere, 422, "idempotency_key_reused")


async def test_rule_02_a_replay_is_byte_for_byte_the_first_answer(real_shop: Shop) -> None:
    body = {**PAGE, "metadata": {"zebra": "1", "ant": "2", "id": "3"}, "description": "Zwölf Äpfel"}
    first = await real_shop.post("/charges", body, key="replay")
    again = await real_shop.post("/charges", dict(reversed(body.items())), key="replay")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"
    in_body = await real_shop.send("POST", "/charges", json={**body, "idempotency_key": "replay"})
    assert in_body.content == first.content


async def test_rule_03_a_key_for_another_request_is_refused(real_shop: Shop, real_world: World) -> None:
    charge = (await real_shop.post("/charges", {**PAGE, "capture": False}, key="one")).json()
    answer = await real_shop.post("/charges", {**PAGE, "capture": False, "amount": 8421}, key="one")
    assert_problem(answer, 422, "idempotency_key_reused", "amount")
    for path, body in (
        (f"/charges/{charge['id']}/capture", {}),
        ("/accounts", {"currency": "EUR"}),
        ("/refunds", {"charge": charge["id"]}),
    ):
        problem = await real_shop.post(path, body, key="one")
        assert problem.status_code in (409, 422)
        if problem.status_code == 422:
            assert problem.json()["code"] == "idempotency_key_reused"
    assert (await real_shop.get(f"/charges/{charge['id']}"))["status"] == "authorized"
    other = await real_world.shop()
    assert (await other.post("/charges", PAGE, key="one")).status_code == 201


async def test_two_requests_race_for_one_key(real_shop: Shop) -> None:
    posts = [real_shop.post("/charges", {**PAGE, "amount": 5000 + turn % 2}, key="race") for turn in range(20)]
    answers = await asyncio.gather(*posts)
    won = [answer for answer in answers if answer.status_code == 201]
    lost = [answer for answer in answers if answer.status_code != 201]
    assert len(won) == len(lost) == 10 and len({answer.content for answer in won}) == 1
    for answer in lost:
        assert_problem(answer, 422, "idempotency_key_reused", "amount")


async def test_rule_05_declines_and_refusals_are_remembered(real_shop: Shop) -> None:
    body = {**PAGE, "source": "tok_declined_hard"}
    first, again = [await real_shop.post("/charges", body, key="declined") for _ in range(2)]
    assert_problem(first, 402, "card_declined")
    assert first.json()["charge"] == again.json()["charge"] and again.status_code == 402
    for account in ("acct_from", "acct_to"):
        assert (await real_shop.post("/accounts", {"currency": "EUR", "id": account})).status_code == 201
    move = {"amount": 500, "currency": "EUR", "source": "acct_from", "destination": "acct_to"}
    refused = await real_shop.post("/transfers", move, key="poor")
    problem = assert_problem(refused, 422, "exceeds_available_balance")
    assert problem["transfer"]["status"] == "failed"
    assert (await real_shop.post("/accounts/acct_from/fund", {"amount": 500})).status_code == 201
    again = await real_shop.post("/transfers", move, key="poor")
    assert_problem(again, 422, "exceeds_available_balance")
    assert again.json()["transfer"] == problem["transfer"] and again.headers["idempotent-replayed"] == "true"
    assert (await real_shop.get("/accounts/acct_from/balance"))["posted"] == 500


async def test_rule_05_validation_errors_are_not_remembered(real_shop: Shop) -> None:
    assert (await real_shop.post("/charges", {**PAGE, "amount": 0}, key="mistake")).status_code == 422
    assert (await real_shop.post("/charges", PAGE, key="mistake")).status_code == 201


async def test_the_books_answer_while_temporal_is_away(real_world: World) -> None:
    shop = await real_world.shop()
    first = await shop.post("/charges", PAGE, key="before")
    away = replace(real_world.services, temporal=UnreachableTemporal())  # type: ignore[arg-type]
    async with client_of(away) as http:
        shop.http = http
        again = await shop.post("/charges", PAGE, key="before")
        assert again.status_code == 201 and again.content == first.content
        assert_problem(await shop.post("/charges", {**PAGE, "amount": 1}, key="before"), 422, "idempotency_key_reused")
        assert_problem(await shop.post("/charges", PAGE, key="after"), 503, "temporarily_unavailable")


async def test_rule_04_a_slow_first_request_is_202_and_its_repeat_409(real_world: World) -> None:
    """The rail takes 2.5 s to be unknown; with a budget of half a second the charge is still running."""
    hasty = replace(real_world.services, sync_budget_seconds=0.5)
    transport = httpx.ASGITransport(app=create_app(hasty))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as http:
        shop = await real_world.shop()
        shop.http = http
        body = {**PAGE, "source": "tok_timeout_approved"}
        first, joined = await asyncio.gather(*[shop.post("/charges", body, key="slow") for _ in range(2)])
        late = await shop.post("/charges", body, key="slow")
        assert first.status_code == 202 and first.json()["status"] == "processing"
        for repeat in (joined, late):
            problem = assert_problem(repeat, 409, "idempotency_key_in_use")
            assert problem["object_id"] == first.json()["id"] and repeat.headers["retry-after"]
        for _ in range(100):
            last = await shop.post("/charges", body, key="slow")
            if last.status_code == 201:
                break
            await asyncio.sleep(0.2)
        assert last.json()["status"] == "settled" and last.json()["id"] == first.json()["id"]
