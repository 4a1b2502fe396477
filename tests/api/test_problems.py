"""Whatever goes wrong is a problem document with a request id, and says nothing it should not."""

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from starlette.requests import ClientDisconnect
from temporalio.service import RPCError, RPCStatusCode

from api.errors import problem_from
from api.services import QuoteRequest
from tests.api.conftest import World, client_of, engine_of
from tests.api.problems import assert_problem

SECRET = "4242424242424242"


async def test_paths_and_methods_that_are_not_there(world: World) -> None:
    assert_problem(await world.http.get("/v1/nothing"), 404, "route_not_found")
    answer = await world.http.delete("/v1/charges")
    assert_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


async def test_every_answer_has_its_own_request_id(world: World) -> None:
    ids = {(await world.http.get(path)).headers["request-id"] for path in ("/healthz", "/metrics", "/v1/x", "/docs")}
    assert len(ids) == 4 and all(one.startswith("req_") for one in ids)


async def test_an_unforeseen_error_is_a_plain_500(world: World) -> None:
    async def broken(request: QuoteRequest) -> Any:
        raise RuntimeError(SECRET)

    async with client_of(replace(world.services, quote=broken)) as http:
        key = (await world.shop()).key
        answer = await http.post(
            "/v1/routing/quote", json={"amount": 1, "currency": "EUR"}, headers={"Authorization": f"Bearer {key}"}
        )
    assert_problem(answer, 500, "internal_error")
    assert SECRET not in answer.text


async def test_without_a_database_503_and_nothing_starts(world: World) -> None:
    shop = await world.shop()
    gone = engine_of("postgresql://nobody:x@127.0.0.1:1/none", 1)
    async with client_of(replace(world.services, reads=gone)) as http:
        shop.http = http
        answer = await shop.post("/charges", {"amount": 1, "currency": "EUR", "source": "tok_visa_4291"})
        assert_problem(answer, 503, "temporarily_unavailable")
        assert answer.headers["retry-after"]
        ready = await http.get("/readyz")
        assert ready.status_code == 503 and ready.json()["checks"]["postgresql"] == "unreachable"
        assert (await http.get("/healthz")).status_code == 200
    assert world.temporal.starts == []


async def test_without_temporal_503_and_the_same_key_may_come_again(world: World) -> None:
    shop = await world.shop()
    answer = await shop.post("/charges", {"amount": 1, "currency": "EUR", "source": "tok_visa_4291"})
    problem = assert_problem(answer, 503, "temporarily_unavailable")
    assert answer.headers["retry-after"] and "same key" in problem["detail"]


async def test_row_level_security_survives_a_connection_used_by_many(world: World) -> None:
    """Each read sets its own scope; nothing of the last one stays on the pooled connection."""
    one, other = await world.shop("One"), await world.shop("Other")
    await one.post("/accounts", {"currency": "EUR", "id": "acct_mine"})
    for _ in range(12):
        assert [account["id"] for account in (await one.get("/accounts"))["data"]] == ["acct_mine"]
        assert (await other.get("/accounts"))["data"] == []
        assert_problem(await other.send("GET", "/accounts/acct_mine"), 404, "account_not_found")


async def test_metrics_count_requests_by_template(world: World) -> None:
    shop = await world.shop()
    await shop.send("GET", "/charges/ch_1")
    text = (await world.http.get("/metrics")).text
    assert 'ledgerline_http_requests_total{method="GET",route="/v1/charges/{charge_id}",status="404"} 1.0' in text
    assert "ledgerline_http_request_seconds_bucket" in text


async def test_the_api_role_cannot_write_what_it_reads(database: Any) -> None:
    async with await psycopg.AsyncConnection.connect(database.api_url) as connection:
        for statement in ("DELETE FROM entries", "UPDATE charges SET status = 'settled'", "TRUNCATE events"):
            try:
                await connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                await connection.rollback()
            else:
                raise AssertionError(statement)


async def test_reads_survive_a_restart_of_the_database(world: World, database: Any) -> None:
    """Connections that died while they lay in the pool are replaced, not passed on as errors."""
    shop = await world.shop()
    await shop.post("/accounts", {"currency": "EUR", "id": "acct_still_here"})
    for _ in range(3):
        await asyncio.gather(*[shop.get("/accounts") for _ in range(12)])
        async with await psycopg.AsyncConnection.connect(database.admin_url) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledgerline_api'"
            )
        await asyncio.sleep(0.05)
        answers = await asyncio.gather(
            *[shop.send("GET", path) for path in ("/accounts", "/accounts/acct_still_here/balance") * 8]
        )
        assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        # "Unable to perform workflow execution update due to Workflow Task in failed state."
        (RPCStatusCode.FAILED_PRECONDITION, 503),
        (RPCStatusCode.ABORTED, 503),
        (RPCStatusCode.INTERNAL, 503),
        (RPCStatusCode.UNKNOWN, 503),
        (RPCStatusCode.INVALID_ARGUMENT, 500),
        (RPCStatusCode.UNIMPLEMENTED, 500),
    ],
)
def test_what_temporal_cannot_take_now_may_come_again(status: RPCStatusCode, expected: int) -> None:
    problem = problem_from(RPCError(SECRET, status, b""))
    assert problem.status == expected and SECRET not in problem.detail
    assert ("Retry-After" in problem.headers) is (expected == 503)


def test_a_client_that_leaves_in_mid_request_is_no_error_of_ours() -> None:
    assert problem_from(ClientDisconnect()).status == 400
