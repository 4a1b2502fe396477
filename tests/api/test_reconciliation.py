"""Files of rails and banks over HTTP, on everything real: matched, drifted, repeated, closed by a person."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.identifiers import Mode
from tests.api.conftest import Shop, World, opened_world
from tests.api.problems import assert_problem
from tests.reconciliation.files import Said, acquirer_file, bank_file

CARD = {"amount": 8420, "currency": "EUR", "source": "tok_visa_4291", "rail": "card_gamma"}
TERMS = '[card_gamma]\nzone = "Europe/Berlin"\ntolerance = 2\n'


@pytest.fixture
async def world(database: Any, temporal: Any, rails_sandbox: str, tmp_path: Path) -> AsyncIterator[World]:
    """The API with both workers; card_gamma has a tolerance of 2 cents."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "reconciliation.toml").write_text(TERMS)
    async with opened_world(database, temporal, rails_sandbox, home, background=True) as opened:
        yield opened


@pytest.fixture
async def shop(world: World) -> Shop:
    """A merchant."""
    return await world.shop()


def now(**shift: float) -> str:
    return (datetime.now(UTC) + timedelta(**shift)).isoformat()


async def upload(
    shop: Shop, content: bytes, form: str = "acquirer_csv", party: str = "card_gamma", **extra: Any
) -> httpx.Response:
    fields = {"format": form, "rail": party} | extra.pop("fields", {})
    return await shop.send("POST", "/reconciliation/files", files={"file": ("f.csv", content)}, data=fields, **extra)


async def taken(shop: Shop, content: bytes, *, status: int = 201, **extra: Any) -> dict[str, Any]:
    answer = await upload(shop, content, **extra)
    assert answer.status_code == status, answer.text
    document: dict[str, Any] = answer.json()
    async with asyncio.timeout(15):
        while document["status"] != "reconciled":
            await asyncio.sleep(0.05)
            document = await shop.get(f"/reconciliation/files/{document['id']}")
    return document


async def charged(shop: Shop, **changes: Any) -> dict[str, Any]:
    answer = await shop.post("/charges", {**CARD, **changes})
    assert answer.status_code == 201 and answer.json()["status"] == "captured", answer.text
    document: dict[str, Any] = answer.json()
    return document


def whole_file(lines: Sequence[Said], until: str | None = None) -> bytes:
    """A rail's file that claims to be complete until now."""
    return acquirer_file(lines, until=until or now())


def said(charge: Mapping[str, Any], **changes: Any) -> Said:
    return Said(reference=f"g-{charge['id']}", order=f"{charge['id']}:1", gross=charge["amount"], booked_at=now()).but(
        **changes
    )


def counts(document: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(document[name] for name in ("lines", "matched", "exceptions", "duplicates", "missing"))


async def opened(shop: Shop, **filters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await shop.get("/reconciliation/exceptions", limit=100, **filters))["data"]
    return found


async def moved(world: World) -> dict[str, int]:
    """Balances of the ledger's own accounts in EUR."""
    admin = await world.admin()
    accounts = (await admin.get("/ledger/trial_balance"))["accounts"]
    return {row["account"]: row["posted"] for row in accounts if row["account"].endswith(":EUR:test")}


def change(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    differences = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    return {name.removesuffix(":EUR:test"): moved for name, moved in differences.items() if moved}


async def decide(shop: Shop, exception: Mapping[str, Any], key: str | None = None, **body: Any) -> httpx.Response:
    return await shop.post(f"/reconciliation/exceptions/{exception['id']}/resolve", {"note": "seen", **body}, key=key)


async def test_rule_30_files_are_idempotent_by_content_and_by_line(world: World, shop: Shop) -> None:
    """The same bytes are the same file; the same line in another file is a duplicate; nothing is posted twice."""
    charge, before = await charged(shop), await moved(world)
    content = whole_file([said(charge), Said(kind="fee", reference=f"f-{charge['id']}", gross=0, fee=300)])
    document = await taken(shop, content)
    assert counts(document) == (2, 2, 0, 0, 0) and document["livemode"] is False
    settled = await shop.get(f"/charges/{charge['id']}")
    assert (settled["status"], settled["settlements"][0]["rail_fee"]) == ("settled", 62)
    once = change(before, await moved(world))
    assert once == {"rail_clearing:card_gamma": 362, "rail_cost:card_gamma": -362}
    again = await upload(shop, content)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json() == document
    more = await charged(shop)
    other = await taken(shop, whole_file([said(charge, booked_at=_booked(content)), said(more)]))
    assert counts(other) == (2, 1, 0, 1, 0) and other["id"] != document["id"]
    assert change(before, await moved(world))["rail_cost:card_gamma"] == -362 - 62
    lines = (await shop.get(f"/reconciliation/files/{other['id']}/lines"))["data"]
    assert [(one["status"], one["subject"]) for one in lines] == [("duplicate", charge["id"]), ("matched", more["id"])]
    listed = (await shop.get("/reconciliation/files"))["data"]
    assert [one["id"] for one in listed] == [other["id"], document["id"]]
    page = await shop.get("/reconciliation/files", limit=1, starting_after=other["id"])
    assert [one["id"] for one in page["data"]] == [document["id"]] and not page["has_more"]


def _booked(content: bytes) -> str:
    return content.decode().splitlines()[1].split(",")[7]


async def test_rule_30_both_signs_of_a_drift_are_exceptions_and_a_tolerated_one_is_rail_cost(
    world: World, shop: Shop
) -> None:
    charges = [await charged(shop) for _ in range(4)]
    before = await moved(world)
    drifts = (2, -2, 3, -3)
    lines = [said(one, gross=8420 + drift, fee=0) for one, drift in zip(charges, drifts, strict=True)]
    document = await taken(shop, whole_file(lines))
    assert counts(document) == (4, 2, 2, 0, 0)
    assert change(before, await moved(world)) == {}  # 2 and -2 of rail cost
    found = {one["subject"]: one for one in await opened(shop, status="open")}
    assert {found[one["id"]]["difference"] for one in charges[2:]} == {3, -3}
    assert all(one["kind"] == "line_differs" and one["expected"] == 8420 for one in found.values())
    statuses = [(await shop.get(f"/charges/{one['id']}"))["status"] for one in charges]
    assert statuses == ["settled", "settled", "captured", "captured"]
    events = [event["type"] for event in (await shop.get("/events", limit=100))["data"]]
    assert events.count("exception.opened") == 2


async def test_rule_30_closing_needs_actor_reason_and_a_ledger_transaction(world: World, shop: Shop) -> None:
    """A write-off posts to rail cost and settles the charge; a surplus may be credited; accepting moves nothing."""
    charges = [await charged(shop) for _ in range(3)]
    await taken(shop, whole_file([said(one, gross=8420 + by) for one, by in zip(charges, (-20, 50, 7), strict=True)]))
    found = {one["subject"]: one for one in await opened(shop, status="open")}
    short, surplus, small = (found[charge["id"]] for charge in charges)
    before = await moved(world)
    assert_problem(await decide(shop, short, note=""), 422)
    assert_problem(await decide(shop, short, action="approved"), 422, "action_not_possible")
    assert_problem(await decide(shop, short, action="write_off", account="acct_x"), 422, "account_invalid")
    assert_problem(await decide(shop, short, action="write_off", amount=-21), 422)
    assert_problem(await decide(shop, short, action="write_off", amount=20), 422, "amount_invalid")
    credit = {"action": "credit_account", "account": charges[0]["account"]}
    assert_problem(await decide(shop, short, **credit), 422, "amount_must_be_positive")
    assert_problem(await decide(shop, surplus, **{**credit, "account": "acct_nobody"}), 422, "account_not_found")
    assert change(before, await moved(world)) == {}
    closed = await decide(shop, short, key="close-1", action="write_off")
    assert closed.status_code == 200, closed.text
    resolution = closed.json()["resolution"]
    assert closed.json()["status"] == "resolved" and resolution["note"] == "seen"
    assert resolution["actor"].startswith("api_key:") and resolution["ledger_transaction"].startswith("lt_")
    again = await decide(shop, short, key="close-1", action="write_off")
    assert again.headers["Idempotent-Replayed"] == "true" and again.json() == closed.json()
    assert_problem(await decide(shop, short, key="close-1", action="accept"), 422, "idempotency_key_reused")
    assert_problem(await decide(shop, short, action="accept"), 409, "exception_already_resolved")
    assert (await decide(shop, surplus, **credit)).json()["resolution"]["amount"] == 50
    assert (await decide(shop, small, action="accept")).json()["resolution"]["ledger_transaction"] is None
    async with asyncio.timeout(10):
        for charge, status in zip(charges, ("settled", "settled", "captured"), strict=True):
            while (await shop.get(f"/charges/{charge['id']}"))["status"] != status:
                await asyncio.sleep(0.05)
    assert change(before, await moved(world)) == {
        "rail_clearing:card_gamma": 20 + 62 - 50 + 62,
        "rail_cost:card_gamma": -20 - 62 - 62,
    }
    records = (await shop.get("/audit/records", limit=100))["data"]
    kept = [one["details"]["note"] for one in records if one["action"] == "exception.resolved"]
    assert kept == ["seen"] * 3
    events = [event["type"] for event in (await shop.get("/events", limit=100))["data"]]
    assert events.count("exception.resolved") == 3
    shown = await shop.get(f"/reconciliation/exceptions/{short['id']}")
    assert shown["resolution"]["ledger_transaction"] == resolution["ledger_transaction"]


async def test_rule_30_a_lump_sum_pays_the_lines_of_its_batches(world: World, shop: Shop) -> None:
    """N:1: when the rail has paid for everything, its clearing account is zero again."""
    before = await moved(world)
    charges = [await charged(shop) for _ in range(3)]
    refund = (await shop.post("/refunds", {"charge": charges[0]["id"], "amount": 420})).json()
    assert refund["status"] == "succeeded"
    batch, other = f"b-{charges[0]['id']}", f"c-{charges[0]['id']}"
    lines = [said(one, batch=batch) for one in charges[:2]]
    back = Said(kind="refund", reference=f"r-{refund['id']}", order=f"{refund['id']}:1", gross=-420, fee=0)
    lines.append(back.but(batch=batch, booked_at=now()))
    lines.append(said(charges[2], batch=other))
    assert counts(await taken(shop, whole_file(lines))) == (4, 4, 0, 0, 0)
    first, second = 2 * 8358 - 420, 8358
    entries = [(f"e-{batch}", first - 5, "card_gamma", batch), (f"e-{other}", second + 2, "card_gamma", other)]
    statement = await taken(shop, bank_file(entries), form="bank_csv", party="bank_main")
    assert counts(statement) == (2, 1, 1, 0, 0)
    (exception,) = (one for one in await opened(shop, status="open") if one["kind"] == "remittance_differs")
    assert (exception["expected"], exception["actual"], exception["difference"]) == (first, first - 5, -5)
    assert change(before, await moved(world))["rail_clearing:card_gamma"] == -5
    rest = await taken(shop, bank_file([(f"rest-{batch}", 5, "card_gamma", batch)]), form="bank_csv", party="bank_main")
    assert counts(rest) == (1, 1, 0, 0, 0)
    assert (await decide(shop, exception, action="accept")).status_code == 200
    after = change(before, await moved(world))
    assert "rail_clearing:card_gamma" not in after and after["safeguarding:bank_main"] == -(first + second + 2)
    again = await upload(shop, bank_file(entries), form="bank_csv", party="bank_main")
    assert again.status_code == 200 and change(before, await moved(world)) == after


async def test_a_credit_that_names_nobody_waits_for_a_person(world: World, shop: Shop) -> None:
    charge, before = await charged(shop), await moved(world)
    key = charge["id"]
    entries = [(f"x-{key}", 700, "", ""), (f"y-{key}", 900, "no_rail", "b")]
    statement = await taken(shop, bank_file(entries), form="bank_csv", party="bank_main")
    assert counts(statement) == (2, 0, 2, 0, 0) and change(before, await moved(world)) == {}
    found = {one["reference"]: one for one in await opened(shop, status="open")}
    unknown = found[f"x-{key}"]
    assert_problem(await decide(shop, unknown, action="write_off"), 422, "action_not_possible")
    credited = await decide(shop, unknown, action="credit_account", account=charge["account"])
    assert credited.status_code == 200, credited.text
    assert change(before, await moved(world)) == {"safeguarding:bank_main": -700}


async def test_rule_30_a_corrected_line_counts_its_difference_once(world: World, shop: Shop) -> None:
    charge, before = await charged(shop), await moved(world)
    first = said(charge)
    await taken(shop, whole_file([first]))
    unmarked = await taken(shop, whole_file([first.but(fee=70)]))
    assert counts(unmarked) == (1, 0, 1, 0, 0)
    (exception,) = (one for one in await opened(shop, status="open") if one["subject"] == charge["id"])
    assert (exception["kind"], exception["difference"]) == ("line_corrected", -8)
    marked = [
        first.but(reference=f"k1-{charge['id']}", fee=70, corrects=first.reference),
        first.but(reference=f"k2-{charge['id']}", fee=65, corrects=first.reference),
    ]
    corrected = await taken(shop, whole_file(marked))
    assert counts(corrected) == (2, 2, 0, 0, 0)
    lines = (await shop.get(f"/reconciliation/files/{corrected['id']}/lines"))["data"]
    assert [one["difference"] for one in lines] == [-8, 5]
    assert change(before, await moved(world)) == {"rail_clearing:card_gamma": 65, "rail_cost:card_gamma": -65}
    wrong = first.but(reference=f"k3-{charge['id']}", gross=9000, corrects=first.reference)
    assert counts(await taken(shop, whole_file([wrong]))) == (1, 0, 1, 0, 0)


async def test_rule_30_what_the_file_lacks_is_an_exception_until_its_line_comes_late(world: World, shop: Shop) -> None:
    there, lost = await charged(shop), await charged(shop)
    document = await taken(shop, whole_file([said(there)], until=now()))
    assert counts(document) == (1, 1, 1, 0, 1) and document["covers_until"] is not None
    (missing,) = await opened(shop, status="open")
    assert (missing["kind"], missing["subject"], missing["difference"]) == ("line_missing", lost["id"], -8420)
    late = await taken(shop, whole_file([said(lost, booked_at=now(days=1))], until=now()))
    assert counts(late) == (1, 1, 0, 0, 0) and late["late"] == 1
    closed = await shop.get(f"/reconciliation/exceptions/{missing['id']}")
    assert closed["status"] == "resolved" and closed["resolution"]["actor"].startswith("api_key:")
    assert (await shop.get(f"/charges/{lost['id']}"))["status"] == "settled"


async def test_rule_30_missing_lines_are_waited_for_until_cut_off_and_grace(world: World, shop: Shop) -> None:
    """Before that the file is matched, not reconciled, and nothing is called missing."""
    there, _ = await charged(shop), await charged(shop)
    answer = await upload(shop, whole_file([said(there)], until=now(hours=1)))
    assert answer.status_code == 201 and answer.json()["status"] == "matched"
    assert counts(answer.json()) == (1, 1, 0, 0, 0) and await opened(shop, status="open") == []
    handle = world.services.temporal.get_workflow_handle(f"reconciliation:{answer.json()['id']}")
    await handle.terminate("the test does not wait for an hour")


async def test_lines_the_books_contradict_are_exceptions(world: World, shop: Shop) -> None:
    charge, stranger = await charged(shop), await charged(await world.shop("Other"))
    declined = (await shop.post("/charges", {**CARD, "source": "tok_declined_hard"})).json()["charge"]
    lines = [
        said(charge, currency="USD"),
        said(stranger, reference=f"s-{charge['id']}"),
        said(declined, reference=f"d-{charge['id']}"),
        said(charge, order="ch_nobody:1", reference=f"n-{charge['id']}"),
        said(charge, kind="adjustment", order="", reference=f"a-{charge['id']}", gross=-50, fee=0),
        said(charge, kind="chargeback", reference=f"c-{charge['id']}", gross=-8420, fee=0),
    ]
    document = await taken(shop, whole_file(lines))
    assert counts(document) == (6, 0, 6, 0, 0)
    kinds = [one["detail"] for one in (await shop.get(f"/reconciliation/files/{document['id']}/lines"))["data"]]
    assert "The charge is in EUR." in kinds and "The charge is declined." in kinds
    found = sorted(one["kind"] for one in await opened(shop, status="open"))
    assert found == ["adjustment", *["line_contradicts"] * 2, *["line_unknown"] * 3]
    assert stranger["id"] not in json.dumps(await opened(shop))


async def test_bad_files_are_refused_and_nothing_of_them_is_taken(world: World, shop: Shop) -> None:
    charge, before = await charged(shop), await moved(world)
    whole = whole_file([said(charge)])
    truncated = whole[: whole.rindex(b"trailer")]
    assert_problem(await upload(shop, truncated), 422, "file_truncated")
    ahead = whole_file([said(charge, booked_at=now(days=8))])
    assert_problem(await upload(shop, ahead), 422, "timestamp_invalid")
    assert_problem(await upload(shop, whole, party="no_rail"), 422, "unknown_rail")
    assert_problem(await upload(shop, whole, form="camt"), 422, "format_invalid")
    assert_problem(await upload(shop, whole, fields={"x": "1"}), 422, "unknown_field")
    assert_problem(await upload(shop, whole, fields={"mode": "live"}), 422, "mode_invalid")
    assert_problem(await shop.post("/reconciliation/files", {"file": "x"}), 415, "content_type_unsupported")
    path = "/reconciliation/files"
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"x", b"--x\r\n\r\nx--", b"--x\r\nbad\r\n--x--"):
        assert_problem(await shop.send("POST", path, content=body, headers=form), 400, "malformed_form")
    cut = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + whole
    for body in (b"", b"--x", b"--x--", cut):
        assert_problem(await shop.send("POST", path, content=body, headers=form), 422, "file_required")
    assert_problem(await shop.send("GET", f"{path}/file_nobody"), 404, "reconciliation_file_not_found")
    assert_problem(await (await world.shop("Live", Mode.LIVE)).send("GET", f"{path}/file_x/lines"), 404)
    assert_problem(await upload(await world.shop("Live", Mode.LIVE), whole), 403, "admin_key_required")
    assert_problem(await upload(await world.admin(), whole), 422, "mode_required")
    assert (await shop.get(path))["data"] == [] and change(before, await moved(world)) == {}


async def test_an_idempotency_key_belongs_to_one_file(world: World, shop: Shop) -> None:
    one, other = [whole_file([said(await charged(shop))]) for _ in range(2)]
    key = {"Idempotency-Key": "file-1"}
    first = await upload(shop, one, headers=key)
    assert first.status_code == 201
    again = await upload(shop, one, headers=key)
    assert again.status_code == 200 and again.json()["id"] == first.json()["id"]
    assert_problem(await upload(shop, other, headers=key), 422, "idempotency_key_reused")
    assert (await upload(shop, one, headers={"Idempotency-Key": "file-2"})).status_code == 200
    assert_problem(await upload(shop, other, headers={"Idempotency-Key": "file-2"}), 422, "idempotency_key_reused")


async def test_an_administrators_file_is_about_everybodys_orders(world: World, shop: Shop) -> None:
    other, admin = await world.shop("Other"), await world.admin()
    mine, theirs = await charged(shop), await charged(other)
    lines = [said(mine), said(theirs, gross=8000)]
    answer = await upload(admin, whole_file(lines), fields={"mode": "test"})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["matched"], answer.json()["lines"]) == (1, 2)
    (exception,) = await opened(other, status="open")
    assert exception["subject"] == theirs["id"] and await opened(shop) == []
    assert_problem(await shop.send("GET", f"/reconciliation/files/{answer.json()['id']}"), 404)
