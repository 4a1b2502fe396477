"""The vault on real PostgreSQL: in, out, replays, rotation, and that nothing leaves without a trace."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from psycopg_pool import AsyncConnectionPool

from audit.signing import AuditSigner
from audit.verify import read_public_keys, verify_records
from domain.identifiers import Mode, new_identifier
from domain.ledger import Posting, PostingResult, Refusal, RefusalCode
from tests.conftest import TestDatabase
from vault.cards import CardDetails, CardInput
from vault.custodian import CustodyError, FileCustodian
from vault.envelope import SealBrokenError
from vault.route import create_router
from vault.tokens import IssuedToken, KeyReusedError, TokenNotFoundError, Vault, VaultRefusedError

VISA = CardInput(number="4242424242424242", exp_month=12, exp_year=2099)
GERMAN = CardInput(number="4000002760000016", exp_month=1, exp_year=2098)
PANS = (VISA.number, GERMAN.number)


@pytest.fixture
async def vault(pool: AsyncConnectionPool, book: Any, tmp_path: Path) -> Vault:
    return Vault(book, pool, FileCustodian(shared_key_file(tmp_path)))


def shared_key_file(tmp_path: Path) -> Path:
    # One database a module, one key file with it: data keys of earlier tests must still unwrap.
    return tmp_path.parent / "vault.key"


async def put(vault: Vault, card: CardInput = VISA, *, key: str | None = None, **where: Any) -> IssuedToken:
    place = {"merchant_id": "mer_1", "mode": Mode.TEST} | where
    claim = await vault.claim(card, key=key or new_identifier("key"), **place)
    return await vault.tokenize(card, claim=claim, **place)


async def take(vault: Vault, token_id: str, **where: Any) -> CardDetails:
    place = {"merchant_id": "mer_1", "mode": Mode.TEST} | where
    return await vault.detokenize(token_id, purpose="authorize ch_1", actor="worker", **place)


async def audits(pool: AsyncConnectionPool, object_id: str) -> list[tuple[Any, ...]]:
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT merchant_id, actor, action, details FROM audit_records WHERE object_id = %s ORDER BY sequence",
            (object_id,),
        )
        return await cursor.fetchall()


async def test_round_trip_and_what_a_token_shows(vault: Vault) -> None:
    document = (await put(vault, GERMAN)).document
    shown = {name: document[name] for name in ("object", "brand", "last4", "bin_country", "exp_month", "exp_year")}
    assert shown == {
        "object": "token",
        "brand": "visa",
        "last4": "0016",
        "bin_country": "DE",
        "exp_month": 1,
        "exp_year": 2098,
    }
    assert document["id"].startswith("tok_") and GERMAN.number not in json.dumps(document)
    assert await take(vault, document["id"]) == CardDetails(number=GERMAN.number, exp_month=1, exp_year=2098)


async def test_rule_35_the_database_holds_no_card_number(vault: Vault, database: TestDatabase) -> None:
    token = (await put(vault)).document["id"]
    await take(vault, token)
    with psycopg.connect(database.admin_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f'SELECT t::text FROM "{table}" t').fetchall():
                assert not any(pan in row for pan in PANS), f"a card number in {table}"


async def test_the_same_card_has_the_same_fingerprint_under_new_tokens(vault: Vault) -> None:
    first, second, other = (await put(vault)).document, (await put(vault)).document, (await put(vault, GERMAN)).document
    assert first["id"] != second["id"] and first["fingerprint"] == second["fingerprint"] != other["fingerprint"]


async def test_rule_35_every_detokenize_is_audited(vault: Vault, pool: AsyncConnectionPool) -> None:
    token = (await put(vault)).document["id"]
    for _ in range(3):
        await take(vault, token)
    assert await audits(pool, token) == [
        ("mer_1", "mer_1", "token.created", {}),
        *[("mer_1", "worker", "token.detokenized", {"purpose": "authorize ch_1"})] * 3,
    ]


@pytest.mark.parametrize("where", [{"merchant_id": "mer_2"}, {"mode": Mode.LIVE}])
async def test_rule_35_a_token_is_bound_to_merchant_and_mode(
    vault: Vault, pool: AsyncConnectionPool, where: dict[str, Any]
) -> None:
    token = (await put(vault)).document["id"]
    with pytest.raises(TokenNotFoundError):
        await take(vault, token, **where)
    assert [row[2] for row in await audits(pool, token)] == ["token.created", "token.detokenize_refused"]
    place = {"merchant_id": "mer_1", "mode": Mode.TEST} | where
    assert await vault.token_facts(token, **place) is None


async def test_a_row_copied_to_another_token_does_not_open(vault: Vault, database: TestDatabase) -> None:
    mine, theirs = (await put(vault)).document["id"], (await put(vault, GERMAN, merchant_id="mer_2")).document["id"]
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE vault_tokens SET internal = (SELECT internal FROM vault_tokens WHERE id = %s) WHERE id = %s",
            (theirs, mine),
        )
    with pytest.raises(SealBrokenError):
        await take(vault, mine)


async def test_stored_bytes_that_were_changed_do_not_open(vault: Vault, database: TestDatabase) -> None:
    token = (await put(vault)).document["id"]
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        [internal] = connection.execute("SELECT internal FROM vault_tokens WHERE id = %s", (token,)).fetchone() or ()
        for name in ("ciphertext", "nonce"):
            changed = bytearray(base64.b64decode(internal[name]))
            changed[0] ^= 1
            forged = internal | {name: base64.b64encode(changed).decode()}
            connection.execute("UPDATE vault_tokens SET internal = %s WHERE id = %s", (json.dumps(forged), token))
            with pytest.raises(SealBrokenError):
                await take(vault, token)


async def test_facts_are_read_without_opening(vault: Vault, pool: AsyncConnectionPool) -> None:
    document = (await put(vault, GERMAN)).document
    facts = await vault.token_facts(document["id"], merchant_id="mer_1", mode=Mode.TEST)
    assert facts is not None
    assert (facts.brand, facts.bin_country, facts.fingerprint) == ("visa", "DE", document["fingerprint"])
    assert facts is await vault.token_facts(document["id"], merchant_id="mer_1", mode=Mode.TEST)
    assert len(await audits(pool, document["id"])) == 1


async def test_rule_2_same_key_same_card_is_the_same_token(vault: Vault) -> None:
    first = await put(vault, key="k-replay")
    again = await put(vault, key="k-replay")
    assert not first.replayed and again.replayed and first.document == again.document


@pytest.mark.parametrize(
    ("card", "param"),
    [
        (GERMAN, "card.number"),
        (replace(VISA, exp_month=11), "card.exp_month"),
        (replace(VISA, exp_year=2097), "card.exp_year"),
    ],
)
async def test_rule_3_same_key_other_card_is_refused(vault: Vault, card: CardInput, param: str) -> None:
    await put(vault, key="k-reused")
    with pytest.raises(KeyReusedError) as reused:
        await put(vault, card, key="k-reused")
    assert reused.value.param == param and not any(pan in str(reused.value) for pan in PANS)


async def test_one_key_space_per_merchant_and_mode(vault: Vault) -> None:
    tokens = [
        await put(vault, key="k-space"),
        await put(vault, key="k-space", merchant_id="mer_2"),
        await put(vault, key="k-space", mode=Mode.LIVE),
    ]
    assert len({token.document["id"] for token in tokens}) == 3


async def test_rule_4_one_key_many_at_once_is_one_token(vault: Vault, pool: AsyncConnectionPool) -> None:
    tokens = await asyncio.gather(*[put(vault, key="k-race") for _ in range(25)])
    assert len({token.document["id"] for token in tokens}) == 1
    assert sum(not token.replayed for token in tokens) == 1


async def test_the_claim_cannot_be_searched_for_card_numbers(vault: Vault, tmp_path: Path, pool: Any) -> None:
    claim = await vault.claim(VISA, key="k", merchant_id="mer_1", mode=Mode.TEST)
    assert not any(pan in repr(claim) for pan in PANS) and "cvc" not in claim.request["card"]
    same = await vault.claim(VISA, key="k", merchant_id="mer_1", mode=Mode.TEST)
    assert claim.fingerprint == same.fingerprint and claim.object_id != same.object_id


async def test_rotation_rewraps_keys_and_leaves_ciphertext(
    pool: AsyncConnectionPool, book: Any, tmp_path: Path
) -> None:
    path = shared_key_file(tmp_path)
    custodian = FileCustodian(path)
    vault = Vault(book, pool, custodian)
    issued = (await put(vault)).document
    async with pool.connection() as connection:
        sealed = await (await connection.execute("SELECT id, internal FROM vault_tokens ORDER BY id")).fetchall()
    old = custodian.current_key_id
    new = custodian.rotate()
    assert await vault.rewrap_data_keys(actor="operator") >= 2
    assert await vault.rewrap_data_keys(actor="operator") == 0
    custodian.retire(old)

    after = Vault(book, pool, FileCustodian(path))
    assert (await take(after, issued["id"])).number == VISA.number
    assert (await put(after)).document["fingerprint"] == issued["fingerprint"]
    async with pool.connection() as connection:
        unchanged = await (
            await connection.execute(
                "SELECT id, internal FROM vault_tokens WHERE id = ANY(%s) ORDER BY id", ([row[0] for row in sealed],)
            )
        ).fetchall()
        wrapping = await (await connection.execute("SELECT DISTINCT wrapping_key_id FROM vault_data_keys")).fetchall()
    assert unchanged == sealed and wrapping == [(new,)]
    assert [(row[1], row[2]) for row in await audits(pool, new)] == [("operator", "vault.data_keys_rewrapped")] * 2


async def test_without_its_wrapping_key_nothing_opens(
    vault: Vault, pool: AsyncConnectionPool, book: Any, tmp_path: Path
) -> None:
    token = (await put(vault)).document["id"]
    stranger = Vault(book, pool, FileCustodian(tmp_path / "other.key"))
    with pytest.raises(CustodyError):
        await take(stranger, token)


async def test_rule_34_what_the_vault_did_verifies_offline(
    vault: Vault, database: TestDatabase, signer: AuditSigner
) -> None:
    token = (await put(vault)).document["id"]
    await take(vault, token)
    columns = (
        "sequence, merchant_id, mode, actor, action, object_id, details, posting_key, recorded_at, "
        "previous_hash, content_hash, record_hash, key_id, signature"
    )
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        select = f"SELECT row_to_json(r)::text FROM (SELECT {columns} FROM audit_records ORDER BY sequence) r"
        lines = [line for (line,) in connection.execute(select).fetchall()]
    keys = read_public_keys([signer.public_key()])
    report = verify_records(lines, keys)
    assert report.ok and report.records >= 2, report.violations
    edited = [*lines[:-1], lines[-1].replace("authorize ch_1", "authorize ch_2")]
    assert {violation.kind for violation in verify_records(edited, keys).violations} == {
        "content_changed",
        "signature_wrong",
    }
    assert not verify_records(lines[:-2] + lines[-1:], keys).ok


class RefusingBook:
    """A book that is out of reach, or says no."""

    def __init__(self, answer: PostingResult | Exception) -> None:
        self.answer = answer

    async def post(self, posting: Posting) -> PostingResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ConnectionError("away"), ConnectionError),
        (PostingResult(refusal=Refusal(code=RefusalCode.ALREADY_EXISTS, detail="no")), VaultRefusedError),
    ],
)
async def test_nothing_is_opened_without_its_audit_record(
    vault: Vault, pool: AsyncConnectionPool, tmp_path: Path, answer: Any, error: type[Exception]
) -> None:
    token = (await put(vault)).document["id"]
    unrecorded = Vault(RefusingBook(answer), pool, FileCustodian(shared_key_file(tmp_path)))
    with pytest.raises(error):
        await take(unrecorded, token)
    with pytest.raises(error):
        await put(unrecorded)


class Refused(Exception):
    def __init__(self, status: int, code: str, detail: str, *, param: str | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.body = {"code": code, "detail": detail, "param": param}


class Caller:
    merchant_id = "mer_1"
    mode = Mode.TEST


@pytest.fixture
async def http(vault: Vault) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(create_router(vault, principal=Caller, problem=Refused))

    @app.exception_handler(Refused)
    async def answer(request: Request, error: Refused) -> JSONResponse:
        return JSONResponse(error.body, status_code=error.status)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api") as client:
        yield client


def body(**changes: Any) -> dict[str, Any]:
    card = {"number": VISA.number, "exp_month": 12, "exp_year": date.today().year + 3, "cvc": "123"}
    return {"card": card | changes}


async def test_route_issues_and_replays(http: httpx.AsyncClient, vault: Vault) -> None:
    first = await http.post("/v1/tokens", json=body(), headers={"Idempotency-Key": "k-http"})
    assert first.status_code == 201 and "idempotent-replayed" not in first.headers
    again = await http.post("/v1/tokens", json=body() | {"idempotency_key": "k-http"})
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json() == first.json()
    assert (await take(vault, first.json()["id"])).number == VISA.number
    other = await http.post("/v1/tokens", json=body(number=GERMAN.number), headers={"Idempotency-Key": "k-http"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert other.json()["param"] == "card.number"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (json.dumps(body()), {}, 400, "idempotency_key_required"),
        (json.dumps(body() | {"idempotency_key": "a"}), {"Idempotency-Key": "b"}, 400, "idempotency_key_mismatch"),
        (json.dumps(body()), {"Idempotency-Key": "k" * 256}, 400, "idempotency_key_invalid"),
        (json.dumps(body() | {"idempotency_key": 4242424242424242}), {}, 400, "idempotency_key_invalid"),
        ("{4242424242424242", {"Idempotency-Key": "k"}, 400, "malformed_json"),
        ('"4242424242424242"', {"Idempotency-Key": "k"}, 422, "body_must_be_object"),
        (json.dumps(body() | {"4242424242424242": 1}), {"Idempotency-Key": "k"}, 422, "unknown_field"),
        (json.dumps(body(number="4242424242424241")), {"Idempotency-Key": "k"}, 422, "card_number_invalid"),
        (json.dumps(body(number=4242424242424242)), {"Idempotency-Key": "k"}, 422, "card_number_must_be_text"),
        (json.dumps(body(exp_year=2001)), {"Idempotency-Key": "k"}, 422, "card_expired"),
        ("[" * 8000, {"Idempotency-Key": "k"}, 400, "malformed_json"),
        ('{"card": {"number": "' + "4242424242424242" * 1000 + '"}}', {"Idempotency-Key": "k"}, 413, "body_too_large"),
    ],
)
async def test_rule_35_no_answer_or_log_quotes_the_card(
    http: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    content: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await http.post("/v1/tokens", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "4242" not in answer.text and "42424242" not in caplog.text


async def test_an_unforeseen_failure_shows_and_logs_no_card(
    pool: AsyncConnectionPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Vault(RefusingBook(RuntimeError(f"boom {VISA.number}")), pool, FileCustodian(shared_key_file(tmp_path)))
    router = create_router(broken, principal=Caller, problem=Refused)
    app = FastAPI()
    app.include_router(router)

    @app.exception_handler(Refused)
    async def answer(request: Request, error: Refused) -> JSONResponse:
        return JSONResponse(error.body, status_code=error.status)

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        with caplog.at_level(logging.DEBUG):
            failed = await client.post("/v1/tokens", json=body(), headers={"Idempotency-Key": "k-boom"})
    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
    assert VISA.number not in failed.text + caplog.text
