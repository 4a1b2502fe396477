"""Safeguarding over HTTP: statements, reconciliations, breaks, the resolution pack; none of it a merchant's."""

import base64
import csv
import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.signing import AuditSigner
from domain.facts import AccountFunded, RailRemitted
from domain.identifiers import Mode, new_identifier
from tests.api.conftest import Shop, World, client_of
from tests.api.problems import assert_problem
from tests.conftest import TestDatabase
from tests.ledger.postings import World as Book

EVERY_ROUTE = (
    ("POST", "/safeguarding/statements"),
    ("GET", "/safeguarding/statements"),
    ("GET", "/safeguarding/statements/sfs_1"),
    ("POST", "/safeguarding/reconciliations"),
    ("GET", "/safeguarding/reconciliations"),
    ("GET", "/safeguarding/reconciliations/sfr_1"),
    ("GET", "/safeguarding/breaks"),
    ("GET", "/safeguarding/breaks/sfb_1"),
    ("POST", "/safeguarding/breaks/sfb_1/resolve"),
    ("POST", "/safeguarding/resolution_pack"),
)


def moment(ago: timedelta = timedelta()) -> str:
    """An instant a little before now."""
    return (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def statement(**members: Any) -> dict[str, Any]:
    """A bank's statement in a currency of one's own test, so that tests of one book don't meet."""
    return {
        "bank": "first",
        "currency": "EUR",
        "closing_balance": 5_000,
        "as_of": moment(timedelta(seconds=1)),
        "statement_id": new_identifier("st"),
        "mode": "test",
        **members,
    }


async def fund(world: World, shop: Shop, amount: int, currency: str, *, remit: int = 0, name: str | None = None) -> str:
    """A customer's account with money in it, and what a rail has paid to the bank."""
    made = await shop.post("/accounts", {"currency": currency, **({"name": name} if name else {})})
    assert made.status_code == 201, made.text
    account: str = made.json()["id"]
    book = Book(shop.merchant_id, Mode.TEST)
    facts: list[Any] = []
    if amount:
        funded = AccountFunded(
            transfer_id=new_identifier("tr"), account=account, amount_minor=amount, currency=currency
        )
        facts.append(funded)
    if remit:
        facts.append(
            RailRemitted(
                remittance_id=new_identifier("rem"), rail="alpha", bank="first", amount_minor=remit, currency=currency
            )
        )
    for fact in facts:
        result = await world.services.book.post(book.stating(fact))
        assert result.refusal is None, result.refusal
    return account


async def run(admin: Shop, currency: str, **body: Any) -> dict[str, Any]:
    """Reconcile; the reconciliation of test mode in a currency."""
    answer = await admin.post("/safeguarding/reconciliations", body)
    assert answer.status_code == 201, answer.text
    found = answer.json()["reconciliations"]
    (one,) = [one for one in found if (one["mode"], one["currency"]) == ("test", currency)]
    assert one == await admin.get(f"/safeguarding/reconciliations/{one['id']}")
    return dict(one)


@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
async def test_rule_31_safeguarding_is_the_institutions_own(shop: Shop, method: str, path: str) -> None:
    answer = await (shop.post(path) if method == "POST" else shop.send(method, path))
    assert_problem(answer, 403, "admin_key_required")


async def test_rule_31_a_statement_is_kept_once_and_corrected_by_another(world: World) -> None:
    admin = await world.admin()
    given = statement(currency="CHF", lines=[{"amount": -15, "reference": "charge"}, {"amount": 5_015}])
    first = await admin.post("/safeguarding/statements", given, key="st-1")
    assert first.status_code == 201 and "Idempotent-Replayed" not in first.headers
    kept = first.json()
    assert kept == await admin.get(f"/safeguarding/statements/{kept['id']}")
    for key in ("st-1", "st-2"):
        again = await admin.post("/safeguarding/statements", given, key=key)
        assert (again.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (201, kept, "true")
    reused = await admin.post("/safeguarding/statements", {**given, "closing_balance": 1}, key="st-1")
    assert_problem(reused, 422, "idempotency_key_reused", "closing_balance")
    other = await admin.post("/safeguarding/statements", {**given, "closing_balance": 1})
    assert_problem(other, 409, "statement_exists_with_different_content", "statement_id")
    same_instant = {**given, "statement_id": "st-b", "closing_balance": 1}
    assert_problem(
        await admin.post("/safeguarding/statements", same_instant), 409, "statement_exists_for_instant", "as_of"
    )
    right = {**same_instant, "corrects": kept["id"]}
    corrected = (await admin.post("/safeguarding/statements", right)).json()
    assert corrected["corrects"] == kept["id"]
    assert (await admin.get(f"/safeguarding/statements/{kept['id']}"))["corrected_by"] == corrected["id"]
    twice = await admin.post("/safeguarding/statements", {**right, "statement_id": "st-c"})
    assert_problem(twice, 409, "statement_already_corrected", "corrects")
    listed = await admin.get("/safeguarding/statements", currency="CHF", bank="first", mode="test")
    assert {one["id"] for one in listed["data"]} == {kept["id"], corrected["id"]}


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"bank": "No Bank"}, "bank_invalid", "bank"),
        ({"currency": "EURO"}, "unknown_currency", "currency"),
        ({"closing_balance": 1.5}, "closing_balance_must_be_integer", "closing_balance"),
        ({"closing_balance": 10**16}, "closing_balance_invalid", "closing_balance"),
        ({"as_of": "yesterday"}, "timestamp_invalid", "as_of"),
        ({"as_of": "2999-01-01T00:00:00Z"}, "as_of_in_the_future", "as_of"),
        ({"as_of": "0064-07-27T02:20:12Z"}, "as_of_too_early", "as_of"),
        ({"statement_id": ""}, "statement_id_invalid", "statement_id"),
        ({"lines": [{"amount": 0}]}, "amount_must_not_be_zero", "lines.0.amount"),
        ({"corrects": "sfs_nothing"}, "corrects_invalid", "corrects"),
        ({"mode": "both"}, "mode_invalid", "mode"),
    ],
)
async def test_a_wrong_statement_is_refused_with_the_field(
    world: World, changes: dict[str, Any], code: str, param: str
) -> None:
    admin = await world.admin()
    assert_problem(await admin.post("/safeguarding/statements", statement(**changes)), 422, code, param)


async def test_rule_31_a_run_is_of_its_instant_and_its_breaks_are_resolved_by_a_person(world: World) -> None:
    """Both signs, listed and filtered; a repeat with the same key is the same run; the end is audited."""
    admin, shop = await world.admin(), await world.shop()
    await fund(world, shop, 7_000, "SEK", remit=5_000)
    given = statement(currency="SEK", closing_balance=5_100, lines=[{"amount": 100}])
    await admin.post("/safeguarding/statements", {**given, "as_of": moment()})
    first = await admin.post("/safeguarding/reconciliations", {}, key="run-1")
    again = await admin.post("/safeguarding/reconciliations", {}, key="run-1")
    assert first.status_code == again.status_code == 201 and again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    found = await run(admin, "SEK", at=first.json()["at"])
    assert found in first.json()["reconciliations"]
    assert (found["internal"], found["external"], found["difference"]) == ("shortfall", "excess", -2_000)
    (bank,) = found["bank_accounts"]
    assert (bank["difference"], bank["proposed_root_cause"]) == (100, "unbooked_bank_line")
    page = await admin.get("/safeguarding/breaks", status="open", currency="SEK")
    kinds = {one["side"]: one for one in page["data"]}
    assert {side: (one["kind"], one["age_days"], one["root_cause"]) for side, one in kinds.items()} == {
        "internal": ("shortfall", 0, "unexplained"),
        "external": ("excess", 0, "unexplained"),
    }
    path = f"/safeguarding/breaks/{kinds['external']['id']}"
    word = {"root_cause": "unbooked_bank_line", "note": "interest of October, booked now"}
    ended = await admin.post(f"{path}/resolve", word, key="word-1")
    assert ended.status_code == 200 and ended.json()["status"] == "resolved"
    assert ended.json()["root_cause_by"] == ended.json()["resolved_by"] and ended.json()["note"] == word["note"]
    replayed = await admin.post(f"{path}/resolve", word, key="word-1")
    assert replayed.headers["Idempotent-Replayed"] == "true" and replayed.json() == ended.json()
    assert_problem(await admin.post(f"{path}/resolve", word), 409, "break_already_resolved")
    assert_problem(
        await admin.post(f"{path}/resolve", {**word, "root_cause": "unexplained"}), 422, "root_cause_invalid"
    )
    assert_problem(await admin.post("/safeguarding/breaks/sfb_none/resolve", word), 404)
    audited = await admin.get("/audit/records", object_id=kinds["external"]["id"])
    assert [one["action"] for one in audited["data"]] == ["safeguarding_break.opened", "safeguarding_break.resolved"]
    assert audited["data"][1]["details"]["root_cause"] == "unbooked_bank_line"
    metrics = (await world.http.get("/metrics")).text
    assert 'ledgerline_safeguarding_breaks_open{currency="SEK",kind="shortfall",mode="test"} 1.0' in metrics
    assert 'ledgerline_safeguarding_requirement_minor{currency="SEK",mode="test"} 7000.0' in metrics


async def test_reconciliations_are_listed_by_what_they_came_to_and_when(world: World) -> None:
    admin, shop = await world.admin(), await world.shop()
    await fund(world, shop, 0, "NOK")
    start = moment()
    first = await run(admin, "NOK")
    await fund(world, shop, 900, "NOK")
    second = await run(admin, "NOK")
    assert (first["status"], second["status"]) == ("matched", "shortfall")
    listed = await admin.get("/safeguarding/reconciliations", currency="NOK", mode="test", limit=1)
    assert listed["data"] == [second] and listed["has_more"] is True
    rest = await admin.get("/safeguarding/reconciliations", currency="NOK", starting_after=second["id"])
    assert rest["data"] == [first]
    for query, expected in (
        ({"status": "matched"}, [first]),
        ({"status": "excess"}, []),
        ({"from": start}, [second, first]),
        ({"to": start}, []),
        ({"from": second["at"]}, [second]),
        ({"to": first["at"]}, [first]),
    ):
        page = await admin.get("/safeguarding/reconciliations", currency="NOK", **query)
        assert page["data"] == expected, query
    wrong = await admin.send("GET", "/safeguarding/reconciliations", params={"from": "yesterday"})
    assert_problem(wrong, 422, "timestamp_invalid", "from")
    early = await admin.post("/safeguarding/reconciliations", {"at": "0001-01-01T00:00:00Z"})
    assert_problem(early, 422, "at_too_early", "at")
    future = await admin.post("/safeguarding/reconciliations", {"at": "2999-01-01T00:00:00Z"})
    assert_problem(future, 422, "at_in_the_future", "at")


def opened_pack(answer: httpx.Response) -> dict[str, bytes]:
    """The files of a pack."""
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip", answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_rule_31_a_resolution_pack_proves_itself_and_adds_up_to_the_reconciliation(
    world: World, database: TestDatabase, tmp_path: Path
) -> None:
    """Hashes, signature, sums; the same bytes again, and no batch that has to hold the whole book."""
    signer = AuditSigner.open(tmp_path / "audit_key.json")
    services = type(world.services)(**{**vars_of(world.services), "signer": signer})
    admin, shop = await world.admin(), await world.shop()
    account = await fund(world, shop, 7_000, "PLN", remit=6_000, name="=HYPERLINK(1)")
    await fund(world, shop, 123, "PLN")
    await many_accounts(database, shop, 4_500)
    await admin.post("/safeguarding/statements", statement(currency="PLN", closing_balance=6_000, as_of=moment()))
    found = await run(admin, "PLN")
    async with client_of(services) as http:
        operator = Shop(http, admin.key, "")
        ask = {"as_of": found["at"], "mode": "test"}
        answer = await operator.post("/safeguarding/resolution_pack", ask)
        again = await operator.post("/safeguarding/resolution_pack", ask)
        live = opened_pack(await operator.post("/safeguarding/resolution_pack"))
        late = await operator.post("/safeguarding/resolution_pack", {"as_of": "2999-01-01T00:00:00Z"})
    assert answer.content == again.content
    assert_problem(late, 422, "as_of_in_the_future", "as_of")
    files = opened_pack(answer)
    manifest = json.loads(files["manifest.json"])
    assert {one["name"]: one["sha256"] for one in manifest["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items() if not name.startswith("manifest")
    }
    signature = json.loads(files["manifest.signature.json"])
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signature["public_key"]["public_key"]))
    key.verify(base64.b64decode(signature["signature"]), hashlib.sha256(files["manifest.json"]).digest())
    assert signature["public_key"] == signer.public_key() and manifest["as_of"] == found["at"]
    rows = list(csv.DictReader(io.StringIO(files["customer_balances.csv"].decode())))
    of_currency = [row for row in rows if row["currency"] == "PLN"]
    assert sum(int(row["counted"]) for row in of_currency) == found["requirement"] == 7_123
    assert len(rows) >= 4_502 and len({(row["merchant"], row["account"]) for row in rows}) == len(rows)
    assert {row["name"] for row in of_currency if row["account"] == account} == {"'=HYPERLINK(1)"}
    (position,) = [one for one in json.loads(files["position.json"]) if one["currency"] == "PLN"]
    assert {name: position[name] for name in ("requirement", "resource", "parts", "bank_accounts")} == {
        name: found[name] for name in ("requirement", "resource", "parts", "bank_accounts")
    }
    kept = [json.loads(line) for line in files["reconciliations.ndjson"].splitlines()]
    assert found in kept and b"safeguarding:first:PLN:test" in files["chart_of_accounts.csv"]
    broken = [json.loads(line) for line in files["breaks.ndjson"].splitlines()]
    assert [(one["difference"], one["age_days"]) for one in broken if one["currency"] == "PLN"] == [(-1_123, 0)]
    assert b"PLN" in files["statements.ndjson"] and b"first" in files["bank_accounts.csv"]
    assert live["customer_balances.csv"] == b"" and b"Contacts" in live["contacts.md"]
    with psycopg.connect(database.app_url) as connection:
        made = connection.execute(
            "SELECT details FROM audit_records WHERE action = 'safeguarding.resolution_pack_made' ORDER BY sequence"
        ).fetchall()
    assert made[0][0]["manifest_sha256"] == hashlib.sha256(files["manifest.json"]).hexdigest()


def vars_of(services: Any) -> dict[str, Any]:
    """The fields of a slotted dataclass."""
    return {name: getattr(services, name) for name in services.__slots__}


async def many_accounts(database: TestDatabase, shop: Shop, number: int) -> None:
    """More accounts than one batch of the pack holds, all empty."""
    async with await psycopg.AsyncConnection.connect(database.admin_url) as connection:
        await connection.execute(
            "INSERT INTO accounts (id, code, merchant_id, mode, currency, kind) OVERRIDING SYSTEM VALUE"
            " SELECT 1000000 + n, %s || n, %s, 'test', 'PLN', 'customer' FROM generate_series(1, %s) n",
            (f"{shop.merchant_id}/test/acct_many_", shop.merchant_id, number),
        )
