"""Payouts over a bank nobody here wrote, through the API and back: paid, rejected, returned, each at the bank once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rails.adapters.ach.wire import identification_of
from rails.iso20022.references import reference_of
from tests.api.conftest import Shop, World, opened_world
from tests.api.problems import assert_problem
from tests.api.test_life_of_money import await_status, balance
from tests.rails.clearing_process import Clearing, running_clearing
from tests.rails.mock_bank import CLOSED, DEBTOR, ELSEWHERE, MockBank

OFTEN = ",".join(["0.3"] * 60)
ACH_DESTINATION = {"type": "ach", "routing_number": "091000019", "account_number": "4711123456", "name": "Ada Smith"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockBank]:
    # After the cut-off of today: nothing is booked before the bank's clock is moved.
    started = MockBank(tmp_path_factory.mktemp("mock-bank"), clock=f"{datetime.now(UTC):%Y-%m-%d}T16:00")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def american_bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockBank]:
    started = MockBank(tmp_path_factory.mktemp("mock-bank"), clock=f"{datetime.now(UTC):%Y-%m-%d}T16:00")
    started.account(format="nacha", currency="USD")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def clearing() -> Iterator[Clearing]:
    with running_clearing() as started:
        yield started


def line(name: str, fields: dict[str, str]) -> str:
    written = ", ".join(f'{key} = "{value}"' for key, value in fields.items())
    return f"{name} = {{ {written} }}\n"


@pytest.fixture
async def real_world(
    database: Any,
    temporal: Any,
    rails_sandbox: str,
    tmp_path: Path,
    bank: MockBank,
    american_bank: MockBank,
    clearing: Clearing,
) -> AsyncIterator[World]:
    """An installation with one line for each rail in its rails.toml."""
    home = tmp_path / "home"
    home.mkdir()
    sepa = bank.line(ask_after_seconds=OFTEN, debtor_iban=DEBTOR, debtor_name="Ledgerline GmbH")
    company = {"routing_number": "999999992", "company_id": "0000000001", "company_name": "Ledgerline Inc"}
    ach = american_bank.line(ask_after_seconds="600", **company)
    ours = {"debtor_iban": "NL91ABNA0417164300", "debtor_name": "Ledgerline B.V.", "debtor_bic": "ABNANL2A"}
    instant = {"url": clearing.url, **ours}
    lines = [line("sepa_credit", sepa), line("ach", ach), line("sepa_instant", instant)]
    (home / "rails.toml").write_text("".join(lines))
    async with opened_world(database, temporal, rails_sandbox, home) as opened:
        yield opened


@pytest.fixture
async def till(real_shop: Shop) -> Shop:
    for currency in ("EUR", "USD"):
        account = f"acct_{currency.lower()}"
        await real_shop.post("/accounts", {"currency": currency, "id": account})
        await real_shop.post(f"/accounts/{account}/fund", {"amount": 5000})
    return real_shop


async def pay(shop: Shop, rail: str, **destination: str) -> Any:
    to = {"type": "iban", "iban": ELSEWHERE, "name": "Zoë Straße", **destination}
    body = {"amount": 5000, "currency": "EUR", "source": "acct_eur", "rail": rail, "destination": to}
    answer = await shop.post("/payouts", body)
    assert answer.status_code in (201, 202, 402, 503), answer.text
    # A payout that failed is in the problem that says so.
    return answer.json().get("payout", answer.json())


async def collect(world: World) -> int:
    """One round of the rails' inbox, as its schedule runs it; return how many notices were new."""
    assert world.services.inbox is not None
    found = await world.services.inbox.collect()
    await world.services.inbox.deliver_due()
    return found


async def collect_until(world: World, shop: Shop, payout: Any, status: str) -> Any:
    """The payout once the bank's messages have brought it there."""
    for _ in range(60):
        await collect(world)
        found = await shop.get(f"/payouts/{payout['id']}")
        if found["status"] == status:
            return found
        await asyncio.sleep(0.5)
    raise AssertionError(f"stays {found}")


def orders(bank: MockBank, payout: Any) -> list[dict[str, Any]]:
    return bank.orders(reference_of(f"{payout['id']}:1"))


async def test_payout_is_paid_when_the_bank_has_booked_it(till: Shop, bank: MockBank) -> None:
    payout = await pay(till, "sepa_credit")
    assert payout["status"] == "processing"
    assert (await balance(till, "acct_eur"))["posted"] == 0
    bank.advance(5)
    paid = await await_status(till, f"/payouts/{payout['id']}", "paid")
    assert paid["rail"] == "sepa_credit"
    (booked,) = orders(bank, payout)
    assert (booked["amount"], booked["currency"], booked["status"]) == (5000, "EUR", "accepted")
    assert booked["booked_at"] and booked["returned_at"] is None
    assert (await till.get("/ledger/invariants"))["ok"] is True


async def test_rejected_payout_gives_the_money_back(till: Shop, bank: MockBank) -> None:
    payout = await pay(till, "sepa_credit", iban=CLOSED)
    failed = await await_status(till, f"/payouts/{payout['id']}", "failed")
    assert failed["failure_code"] == "closed_account_number"
    assert (await balance(till, "acct_eur"))["posted"] == 5000
    (rejected,) = orders(bank, payout)
    assert rejected["status"] == "rejected" and rejected["booked_at"] is None
    assert (await till.get("/ledger/invariants"))["ok"] is True


async def test_rule_29_a_payout_the_bank_returns_is_the_accounts_money_again(
    till: Shop, real_world: World, bank: MockBank
) -> None:
    """Booking and return are in the mailbox together, are read in any order, and are read again and again."""
    bank.behave("return-later", days=1, reason="AC04")
    payout = await pay(till, "sepa_credit")
    bank.advance(7)
    bank.behave("accept")
    returned = await collect_until(real_world, till, payout, "returned")
    assert returned["failure_code"] == "closed_account_number"
    assert await collect(real_world) == 0
    assert (await balance(till, "acct_eur"))["posted"] == 5000
    (booked,) = orders(bank, payout)
    assert booked["booked_at"] and booked["returned_at"]
    kinds = [one["kind"] for one in (await till.get("/accounts/acct_eur/entries"))["data"]]
    assert kinds == ["payout_returned", "payout", "funding"]
    events = [one["type"] for one in (await till.get("/events", limit=100))["data"]]
    payouts = [kind for kind in events if kind.startswith("payout.")]
    assert payouts == ["payout.processing", "payout.paid", "payout.returned"]
    assert (await till.get("/reconciliation/exceptions", status="open"))["data"] == []
    assert (await till.get("/ledger/invariants"))["ok"] is True


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("Ada", "paid", None),
        ("Ada CLOSED", "failed", "closed_account_number"),
        ("Ada OFFLINE", "failed", "rail_not_available"),
    ],
)
async def test_instant_payout_ends_as_the_clearing_says(
    till: Shop, clearing: Clearing, name: str, status: str, code: str | None
) -> None:
    payout = await pay(till, "sepa_instant", iban="DE89370400440532013000", name=name)
    ended = await await_status(till, f"/payouts/{payout['id']}", status)
    assert ended["failure_code"] == code
    row = clearing.books()[reference_of(f"{payout['id']}:1")]
    assert (row["amount"], row["status"], row["calls"]) == ("50.00", "ACCP" if status == "paid" else "RJCT", 1)
    assert (await balance(till, "acct_eur"))["posted"] == (0 if status == "paid" else 5000)
    assert (await till.get("/ledger/invariants"))["ok"] is True


async def test_ach_payout_is_paid_and_one_to_a_closed_account_fails(
    till: Shop, real_world: World, american_bank: MockBank
) -> None:
    """Nobody asks so soon: the bank's messages come to the orders."""
    body = {"amount": 2500, "currency": "USD", "source": "acct_usd", "rail": "ach", "destination": ACH_DESTINATION}
    good = (await till.post("/payouts", body)).json()
    closed = {**ACH_DESTINATION, "routing_number": "999999992", "account_number": "0000000003"}
    answered = (await till.post("/payouts", {**body, "destination": closed})).json()
    failed = await await_status(till, f"/payouts/{answered.get('payout', answered)['id']}", "failed")
    assert failed["failure_code"] == "account_closed"
    american_bank.advance(7)
    await collect_until(real_world, till, good, "paid")
    assert (await balance(till, "acct_usd"))["posted"] == 2500
    (entry,) = american_bank.orders(identification_of(f"{good['id']}:1"))
    assert (entry["amount"], entry["currency"], entry["booked_at"] is not None) == (2500, "USD", True)
    assert entry["instruction_id"] == "999999990000001"
    assert (await till.get("/ledger/invariants"))["ok"] is True


@pytest.mark.parametrize(
    ("wrong", "currency", "code"),
    [
        ({"routing_number": "091000018"}, "USD", "routing_number_invalid"),
        ({"account_number": "1" * 18}, "USD", "account_number_invalid"),
        ({}, "EUR", "currency_mismatch"),
    ],
)
async def test_ach_destination_is_checked_before_anything_runs(
    till: Shop, wrong: dict[str, str], currency: str, code: str
) -> None:
    body = {"amount": 2500, "currency": currency, "source": f"acct_{currency.lower()}", "rail": "ach"}
    assert_problem(await till.post("/payouts", {**body, "destination": {**ACH_DESTINATION, **wrong}}), 422, code)
