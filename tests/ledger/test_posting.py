"""Posting: what is accepted, what is refused, and that a posting happens wholly, once, or not at all."""

import asyncio
import dataclasses
from collections.abc import Callable

import psycopg
import pytest

from domain.facts import AccountFunded, ChargeCaptured, TransferMade
from domain.identifiers import default_account_id, new_identifier
from domain.ledger import Posting, Record, RecordKind, RefundGuard, RefusalCode
from ledger.invariants import check_books
from ledger.posting import Poster
from tests.ledger.postings import FINAL, HOLD, POST_HOLD, VOID, World, posted, whole_state


@pytest.fixture
async def world(poster: Poster) -> World:
    """A merchant with `a` (not below 0, holding 100), `b` (at most 1000), `bank` (no limits) and `usd`."""
    world = World()
    await poster.post(
        world.opens(
            world.opening("bank"),
            world.opening("a", least=0),
            world.opening("b", most=1000),
            world.opening("usd", currency="USD"),
        )
    )
    await poster.post(world.move("bank", "a", 100))
    return world


async def test_a_captured_charge_is_two_movements_of_one_ledger_transaction(
    poster: Poster, reader: psycopg.AsyncConnection
) -> None:
    """8420 captured at a fee of 158 leaves the merchant 8262, with the running balance after each entry."""
    world = World()
    account = default_account_id(world.merchant_id, "EUR")
    result = await poster.post(
        world.stating(
            ChargeCaptured(
                charge_id=new_identifier("ch"),
                account=account,
                rail="alpha",
                amount_minor=8420,
                fee_minor=158,
                currency="EUR",
            )
        )
    )
    assert result.refusal is None and not result.duplicate
    assert [(e.account, e.direction, e.amount_minor) for e in result.entries] == [
        ("rail_clearing:alpha:EUR:test", "debit", 8420),
        (account, "credit", 8420),
        (account, "debit", 158),
        ("fee_revenue:EUR:test", "credit", 158),
    ]
    assert [e.balance_minor for e in result.entries if e.account == account] == [8420, 8262]
    assert await posted(reader, world.code(account)) == (8262, 0, 0)


async def test_posting_again_returns_the_first_result(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Later, at once, and within one batch: one ledger transaction, the same entries."""
    posting = world.move("a", "b", 40)
    first, second = await asyncio.gather(poster.post(posting), poster.post(posting))
    before = await whole_state(reader)
    third = await poster.post(posting)
    assert await whole_state(reader) == before
    assert not first.duplicate and second.duplicate and third.duplicate
    assert first.entries == second.entries == third.entries
    assert first.ledger_transaction_id == third.ledger_transaction_id and first.recorded_at == third.recorded_at
    assert await posted(reader, world.code("a")) == (60, 0, 0)


async def test_later_postings_of_a_batch_see_earlier_ones(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Two debits of 60 on a balance of 100: the first posts; what comes back makes a third possible."""
    first, second, back, third = await asyncio.gather(
        poster.post(world.move("a", "b", 60)),
        poster.post(world.move("a", "b", 60)),
        poster.post(world.move("bank", "a", 20)),
        poster.post(world.move("a", "b", 60)),
    )
    assert first.refusal is None and back.refusal is None and third.refusal is None
    assert second.refusal is not None and second.refusal.code is RefusalCode.EXCEEDS_AVAILABLE_BALANCE
    assert second.refusal.account == "a" and second.entries == () and second.ledger_transaction_id is None
    assert await posted(reader, world.code("a")) == (0, 0, 0)


async def test_hot_account_never_goes_below_its_limit(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """300 at once on one account with money for 100: exactly 100 post, and every entry adds up."""
    results = await asyncio.gather(*(poster.post(world.move("a", "b", 1)) for _ in range(300)))
    assert sum(result.refusal is None for result in results) == 100
    assert await posted(reader, world.code("a")) == (0, 0, 0)
    assert [r.entries[0].balance_minor for r in results if r.refusal is None] == list(range(99, -1, -1))
    assert (await check_books(reader)).ok


Case = Callable[[World], Posting]
REFUSALS: dict[str, tuple[RefusalCode, Case]] = {
    "unknown account": (RefusalCode.ACCOUNT_NOT_FOUND, lambda w: w.move("a", "nobody", 1)),
    "other currency": (RefusalCode.CURRENCY_MISMATCH, lambda w: w.move("a", "usd", 1)),
    "currency of neither": (RefusalCode.CURRENCY_MISMATCH, lambda w: w.move("a", "b", 1, currency="USD")),
    "too little": (RefusalCode.EXCEEDS_AVAILABLE_BALANCE, lambda w: w.move("a", "b", 201)),
    "too much": (RefusalCode.EXCEEDS_MAXIMUM_BALANCE, lambda w: w.move("bank", "b", 1001)),
    "hold of too little": (RefusalCode.EXCEEDS_AVAILABLE_BALANCE, lambda w: w.move("a", "b", 201, phase=HOLD)),
    "no hold": (RefusalCode.HOLD_NOT_FOUND, lambda w: w.move("a", "b", 1, phase=FINAL, hold_key="mv_none")),
    "second movement": (
        RefusalCode.EXCEEDS_AVAILABLE_BALANCE,
        lambda w: w.posting(w.movement("a", "b", 60), w.movement("a", "b", 60)),
    ),
    "opening with it": (
        RefusalCode.EXCEEDS_AVAILABLE_BALANCE,
        lambda w: w.posting(w.movement("c", "b", 1), accounts=(w.opening("c", least=0),)),
    ),
    "no captured charge": (
        RefusalCode.EXCEEDS_REFUNDABLE_AMOUNT,
        lambda w: w.posting(refund_guard=guard("ch_none", "re_1", 1)),
    ),
}


def guard(charge_id: str, refund_id: str, amount: int) -> RefundGuard:
    return RefundGuard(charge_id=charge_id, refund_id=refund_id, amount_minor=amount)


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refused_posting_changes_nothing(
    name: str, poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Not a balance, a hold, an account, a key, an object, an event or an audit record; neighbours post."""
    code, case = REFUSALS[name]
    refused = case(world)
    charge = world.charge(new_identifier("ch"))
    refused = dataclasses.replace(
        refused, records=(charge,), events=(world.event(charge),), claim=world.claim(new_identifier("k"), charge.id)
    )
    before = await whole_state(reader)
    result = await poster.post(refused)
    assert result.refusal is not None and result.refusal.code is code, result
    assert await whole_state(reader) == before
    left, again, right = await asyncio.gather(
        poster.post(world.move("bank", "a", 1)),
        poster.post(refused),
        poster.post(world.move("bank", "a", 1)),
    )
    assert left.refusal is None and right.refusal is None and again.refusal is not None
    assert await posted(reader, world.code("a")) == (102, 0, 0)


async def test_closed_and_frozen_accounts_refuse(poster: Poster, world: World, reader: psycopg.AsyncConnection) -> None:
    """Both ways; only releasing a hold, and what posts past limits on a frozen one, pass."""
    hold = world.movement("a", "b", 10, phase=HOLD)
    await poster.post(world.posting(hold))
    await reader.execute("UPDATE accounts SET status = 'frozen' WHERE code = %s", (world.code("a"),))
    for movement in (world.movement("a", "b", 1), world.movement("bank", "a", 1)):
        result = await poster.post(world.posting(movement))
        assert result.refusal is not None and result.refusal.code is RefusalCode.ACCOUNT_CLOSED
        assert result.refusal.account == "a"
    assert (await poster.post(world.move("a", "b", 1, past_limits=True))).refusal is None
    assert (await poster.post(world.move("a", "b", 10, phase=VOID, hold_key=hold.key))).refusal is None
    assert await posted(reader, world.code("a")) == (99, 0, 0)


async def test_past_limits_goes_below_the_minimum(poster: Poster, world: World) -> None:
    """Chargebacks always post; incoming money is still welcome, outgoing is not."""
    result = await poster.post(world.move("a", "bank", 500, past_limits=True))
    assert result.refusal is None and result.entries[0].balance_minor == -400
    assert (await poster.post(world.move("bank", "a", 100))).refusal is None
    assert (await poster.post(world.move("a", "bank", 1))).refusal is not None


async def test_a_movement_key_is_used_once(poster: Poster, world: World, reader: psycopg.AsyncConnection) -> None:
    """The same movement under another posting moves nothing again; with other facts it is refused."""
    movement = world.movement("a", "b", 10)
    await poster.post(world.posting(movement))
    again = await poster.post(world.posting(movement))
    assert again.refusal is None and again.entries == ()
    for changed, code in (
        (dataclasses.replace(movement, amount_minor=11), RefusalCode.EXISTS_WITH_DIFFERENT_AMOUNT),
        (dataclasses.replace(movement, credit_account=world.code("bank")), RefusalCode.EXISTS_WITH_DIFFERENT_FACTS),
    ):
        result = await poster.post(world.posting(changed))
        assert result.refusal is not None and result.refusal.code is code
    twin = world.movement("a", "b", 5)
    one, two, other = await asyncio.gather(
        poster.post(world.posting(twin)),
        poster.post(world.posting(twin)),
        poster.post(world.posting(dataclasses.replace(twin, amount_minor=6))),
    )
    assert one.refusal is None and two.refusal is None and len(one.entries) == 2 and two.entries == ()
    assert other.refusal is not None and other.refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_AMOUNT
    assert await posted(reader, world.code("a")) == (85, 0, 0)


async def test_rule_23_holds_reserve_post_in_parts_and_release(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """A hold of 80: 30 posted, 40 posted as the last part, 10 released; a second hold voided."""
    hold = world.movement("a", "b", 80, phase=HOLD)
    assert (await poster.post(world.posting(hold))).refusal is None
    assert await posted(reader, world.code("a")) == (100, 80, 0)
    assert await posted(reader, world.code("b")) == (0, 0, 80)
    too_much = await poster.post(world.move("a", "b", 21))
    assert too_much.refusal is not None and too_much.refusal.code is RefusalCode.EXCEEDS_AVAILABLE_BALANCE
    await poster.post(world.move("a", "b", 30, phase=POST_HOLD, hold_key=hold.key))
    assert await posted(reader, world.code("a")) == (70, 50, 0)
    above = await poster.post(world.move("a", "b", 51, phase=FINAL, hold_key=hold.key))
    assert above.refusal is not None and above.refusal.code is RefusalCode.EXCEEDS_HOLD
    assert above.refusal.remaining_minor == 50
    await poster.post(world.move("a", "b", 40, phase=FINAL, hold_key=hold.key))
    assert await posted(reader, world.code("a")) == (30, 0, 0)
    late = await poster.post(world.move("a", "b", 1, phase=POST_HOLD, hold_key=hold.key))
    assert late.refusal is not None and late.refusal.code is RefusalCode.HOLD_NOT_FOUND
    other = world.movement("a", "b", 30, phase=HOLD)
    void = world.movement("a", "b", 30, phase=VOID, hold_key=other.key)
    both = await asyncio.gather(
        poster.post(world.posting(other)),
        poster.post(world.posting(void)),
        poster.post(world.move("a", "b", 30)),
    )
    assert [result.refusal for result in both] == [None, None, None]
    assert await posted(reader, world.code("a")) == (0, 0, 0)
    assert await posted(reader, world.code("b")) == (100, 0, 0)
    assert (await check_books(reader)).ok


async def test_rule_23_posting_a_hold_cannot_fail_its_limits(poster: Poster, world: World) -> None:
    """Room for the credit is kept from the moment of the hold."""
    hold = world.movement("bank", "b", 900, phase=HOLD)
    await poster.post(world.posting(hold))
    crowded = await poster.post(world.move("bank", "b", 101))
    assert crowded.refusal is not None and crowded.refusal.code is RefusalCode.EXCEEDS_MAXIMUM_BALANCE
    assert (await poster.post(world.move("bank", "b", 100))).refusal is None
    assert (await poster.post(world.move("bank", "b", 900, phase=FINAL, hold_key=hold.key))).refusal is None


async def test_transfer_document_holds_its_entries(poster: Poster, reader: psycopg.AsyncConnection) -> None:
    """Answered and stored: two opposing entries with public account ids."""
    world = World()
    await poster.post(world.opens(world.opening("acct_a", least=0), world.opening("acct_b")))
    funded = new_identifier("tr")
    fact = AccountFunded(transfer_id=funded, account="acct_a", amount_minor=8420, currency="EUR")
    await poster.post(world.stating(fact))
    transfer = new_identifier("tr")
    record = Record(
        kind=RecordKind.TRANSFER, id=transfer, version=1, document={"id": transfer, "status": "settled", "entries": []}
    )
    made = TransferMade(transfer_id=transfer, source="acct_a", destination="acct_b", amount_minor=8420, currency="EUR")
    result = await poster.post(
        world.stating(made, key=f"{transfer}:1", records=(record,), events=(world.event(record, "transfer.settled"),))
    )
    expected = [
        {
            "id": e.id,
            "account": e.account,
            "direction": e.direction,
            "amount": 8420,
            "currency": "EUR",
            "balance": e.balance_minor,
        }
        for e in result.entries
    ]
    assert [(e["account"], e["direction"], e["balance"]) for e in expected] == [
        ("acct_a", "debit", 0),
        ("acct_b", "credit", 8420),
    ]
    assert result.documents[transfer]["entries"] == expected
    for query in ("SELECT document FROM transfers WHERE id = %s", "SELECT document FROM events WHERE object_id = %s"):
        cursor = await reader.execute(query.encode(), (transfer,))
        assert [row[0]["entries"] for row in await cursor.fetchall()] == [expected]
    again = await poster.post(world.stating(made, key=f"{transfer}:1", records=(record,)))
    assert again.duplicate and again.documents[transfer]["entries"] == expected
