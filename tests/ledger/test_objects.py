"""What commits with movements: keys, objects, refund bounds, events, audit records, policies, accounts."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from domain.canonical import GENESIS_HASH, audit_content, content_hash, record_hash
from domain.identifiers import new_identifier
from domain.ledger import Posting, Record, RecordKind, RefundGuard, RefusalCode
from ledger.posting import Poster
from tests.conftest import TestDatabase
from tests.ledger.postings import World


@pytest.fixture
def world() -> World:
    """A merchant of one's own."""
    return World()


async def fetch(reader: psycopg.AsyncConnection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    cursor = await reader.execute(query.encode(), parameters)
    return await cursor.fetchall()


async def test_a_key_belongs_to_one_object_for_ever(poster: Poster, world: World) -> None:
    """The same object may claim it again; another is told whose it is, later or in the same batch."""
    mine, other, key = new_identifier("ch"), new_identifier("ch"), new_identifier("k")
    first, second = await asyncio.gather(
        poster.post(world.posting(claim=world.claim(key, mine))),
        poster.post(world.posting(claim=world.claim(key, other))),
    )
    assert first.refusal is None and second.refusal is not None
    third = await poster.post(world.posting(claim=world.claim(key, other)))
    assert (await poster.post(world.posting(claim=world.claim(key, mine)))).refusal is None
    for result in (second, third):
        assert result.refusal is not None
        assert (result.refusal.code, result.refusal.object_id) == (RefusalCode.IDEMPOTENCY_KEY_TAKEN, mine)
    assert (await poster.post(World().posting(claim=world.claim(key, other)))).refusal is None


async def test_a_refused_claim_leaves_the_key_free(poster: Poster, world: World) -> None:
    """A key claimed by a posting that is refused can be claimed by the next of the batch."""
    key, mine, other = new_identifier("k"), new_identifier("tr"), new_identifier("tr")
    refused, accepted = await asyncio.gather(
        poster.post(world.posting(world.movement("nobody", "none", 1), claim=world.claim(key, other))),
        poster.post(world.posting(claim=world.claim(key, mine))),
    )
    assert refused.refusal is not None and accepted.refusal is None


async def test_newer_versions_replace_older_never_the_reverse(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Whatever the order and batching, the highest version stays; older ones are answered with it."""
    charge_id = new_identifier("ch")
    versions = [world.charge(charge_id, version, captured=version) for version in (1, 3, 2)]
    await asyncio.gather(*(poster.post(world.posting(records=(record,))) for record in versions))
    stale = await poster.post(world.posting(records=(world.charge(charge_id, 2, captured=99),)))
    assert stale.refusal is None and stale.documents[charge_id]["amount_captured"] == 3
    rows = await fetch(reader, "SELECT version, amount_captured, status FROM charges WHERE id = %s", charge_id)
    assert rows == [(3, 3, "settled")]


async def test_create_only_refuses_an_id_in_use(poster: Poster, world: World) -> None:
    """Stored before, or made by an earlier posting of the batch."""
    charge = dataclasses.replace(world.charge(new_identifier("ch")), create_only=True)
    first, second = await asyncio.gather(
        poster.post(world.posting(records=(charge,))), poster.post(world.posting(records=(charge,)))
    )
    third = await poster.post(world.posting(records=(charge,)))
    assert first.refusal is None
    for result in (second, third):
        assert result.refusal is not None
        assert (result.refusal.code, result.refusal.object_id) == (RefusalCode.ALREADY_EXISTS, charge.id)


async def test_accounts_are_opened_once(poster: Poster, world: World) -> None:
    """An account's record opens it, with limits; the same id again is refused; it can be used at once."""
    document: dict[str, Any] = {
        "code": world.code("acct_x"),
        "currency": "EUR",
        "kind": "customer",
        "name": "X",
        "min_balance": 0,
    }
    record = Record(kind=RecordKind.ACCOUNT, id=document["code"], version=1, document=document, create_only=True)
    opened, refused, overdrawn, credited = await asyncio.gather(
        poster.post(world.posting(records=(record,), events=(world.event(record, "account.created"),))),
        poster.post(world.posting(records=(record,))),
        poster.post(world.posting(world.movement("acct_x", "y", 1), accounts=(world.opening("y"),))),
        poster.post(world.posting(world.movement("y", "acct_x", 1), accounts=(world.opening("y"),))),
    )
    assert opened.refusal is None and opened.documents == {record.id: document}
    assert refused.refusal is not None and refused.refusal.code is RefusalCode.ALREADY_EXISTS
    assert overdrawn.refusal is not None and overdrawn.refusal.code is RefusalCode.EXCEEDS_AVAILABLE_BALANCE
    assert credited.refusal is None and credited.entries[1].balance_minor == 1


async def test_policies_are_replaced_by_newer_ones(
    poster: Poster, world: World, reader: psycopg.AsyncConnection
) -> None:
    """One row a merchant, mode and kind."""
    policy_id = f"{world.merchant_id}/test/risk"
    for version in (1, 2):
        record = Record(kind=RecordKind.POLICY, id=policy_id, version=version, document={"block_at": version})
        assert (await poster.post(world.posting(records=(record,)))).refusal is None
    rows = await fetch(reader, "SELECT kind, version, document FROM policies WHERE merchant_id = %s", world.merchant_id)
    assert rows == [("risk", 2, {"block_at": 2})]


def refunding(world: World, charge_id: str, amount: int, refund_id: str | None = None) -> Posting:
    """A refund that is guarded and recorded as pending."""
    refund_id = refund_id or new_identifier("re")
    return world.posting(
        records=(world.refund(refund_id, charge_id, amount),),
        refund_guard=RefundGuard(charge_id=charge_id, refund_id=refund_id, amount_minor=amount),
    )


async def test_refunds_never_exceed_what_was_captured(poster: Poster, world: World) -> None:
    """Of 1000 captured: 600, then 500 is refused with 400 remaining, also within one batch; a failed one gives back."""
    charge_id, failing = new_identifier("ch"), new_identifier("re")
    await poster.post(world.posting(records=(world.charge(charge_id),)))
    first, second, third = await asyncio.gather(
        poster.post(refunding(world, charge_id, 600, failing)),
        poster.post(refunding(world, charge_id, 500)),
        poster.post(refunding(world, charge_id, 400)),
    )
    assert first.refusal is None and third.refusal is None and second.refusal is not None
    assert second.refusal.code is RefusalCode.EXCEEDS_REFUNDABLE_AMOUNT and second.refusal.remaining_minor == 400
    full = await poster.post(refunding(world, charge_id, 1))
    assert full.refusal is not None and full.refusal.remaining_minor == 0
    failed = world.refund(failing, charge_id, 600, version=2, status="failed")
    _, again = await asyncio.gather(
        poster.post(world.posting(records=(failed,))), poster.post(refunding(world, charge_id, 600))
    )
    assert again.refusal is None


async def test_disputes_take_room_from_refunds(poster: Poster, world: World) -> None:
    """An open dispute of 700 leaves 300 of 1000; a won one gives it back."""
    charge_id, dispute_id = new_identifier("ch"), new_identifier("dp")
    document = {"charge": charge_id, "amount": 700, "status": "needs_response"}
    dispute = Record(kind=RecordKind.DISPUTE, id=dispute_id, version=1, document=document)
    await poster.post(world.posting(records=(world.charge(charge_id),)))
    _, refused = await asyncio.gather(
        poster.post(world.posting(records=(dispute,))), poster.post(refunding(world, charge_id, 301))
    )
    assert refused.refusal is not None and refused.refusal.remaining_minor == 300
    won = dataclasses.replace(dispute, version=2, document=document | {"status": "won"})
    await poster.post(world.posting(records=(won,)))
    assert (await poster.post(refunding(world, charge_id, 1000))).refusal is None


async def test_events_are_gapless_in_commit_order_and_never_twice(
    database: TestDatabase, world: World, reader: psycopg.AsyncConnection
) -> None:
    """Three posters at once, refusals and repetitions among them, two merchants side by side."""
    posters = [Poster(database.app_url, batch_max=size) for size in (1, 7, 512)]
    for one in posters:
        await one.start()
    neighbour = World()
    postings = []
    for n in range(120):
        of = world if n % 3 else neighbour
        charge = of.charge(new_identifier("ch"))
        refused = (of.movement("nobody", "none", 1),) if n % 5 == 0 else ()
        events = (of.event(charge, "charge.created"), of.event(charge))
        postings.append(of.posting(*refused, records=(charge,), events=events))
    results = await asyncio.gather(*(one.post(posting) for posting in postings for one in posters))
    for one in posters:
        await one.stop()
    assert sum(result.refusal is not None for result in results) == 24 * 3
    for of in (world, neighbour):
        rows = await fetch(
            reader,
            "SELECT sequence, created_at, object_id FROM events WHERE merchant_id = %s ORDER BY sequence",
            of.merchant_id,
        )
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        assert [row[1] for row in rows] == sorted(row[1] for row in rows)
        assert len(rows) == 2 * len({row[2] for row in rows}) > 0
    repeated = dataclasses.replace(postings[1], key=f"{new_identifier('op')}:9")
    before = await fetch(reader, "SELECT count(*) FROM events")
    async with asyncio.timeout(10):
        again = Poster(database.app_url)
        await again.start()
        assert (await again.post(repeated)).refusal is None
        await again.stop()
    assert await fetch(reader, "SELECT count(*) FROM events") == before


async def test_audit_records_form_one_chain(database: TestDatabase, reader: psycopg.AsyncConnection) -> None:
    """Every record hashes its content and its predecessor, with the signature made before."""
    poster = Poster(database.app_url, sign=lambda hashed: ("key_1", hashed[::-1]))
    await poster.start()
    world = World()
    await asyncio.gather(*(poster.post(world.posting()) for _ in range(40)))
    await poster.stop()
    rows = await fetch(
        reader,
        "SELECT sequence, actor, action, object_id, merchant_id, mode, details, posting_key, previous_hash,"
        " content_hash, record_hash, key_id, signature FROM audit_records ORDER BY sequence",
    )
    previous = GENESIS_HASH
    for position, row in enumerate(rows, 1):
        sequence, *content, previous_hash, hashed, linked, key_id, signature = row
        names = ("actor", "action", "object_id", "merchant_id", "mode", "details", "posting_key")
        assert sequence == position and previous_hash == previous
        assert hashed == content_hash(audit_content(**dict(zip(names, content, strict=True))))
        assert linked == record_hash(previous, hashed, signature or b"")
        assert (key_id, signature) in ((None, None), ("key_1", hashed[::-1]))
        previous = linked
    assert sum(row[-1] is not None for row in rows) == 40


async def test_what_cannot_be_stored_fails_alone(poster: Poster, world: World) -> None:
    """A NUL character is refused by the database; the rest of the batch posts."""
    bad = Record(kind=RecordKind.CHARGE, id=new_identifier("ch"), version=1, document={"amount": 1, "note": "\x00"})
    answers = await asyncio.gather(
        poster.post(world.posting(records=(world.charge(new_identifier("ch")),))),
        poster.post(world.posting(records=(bad,))),
        poster.post(world.posting(records=(world.charge(new_identifier("ch")),))),
        return_exceptions=True,
    )
    assert isinstance(answers[1], ValueError)
    assert not isinstance(answers[0], BaseException) and not isinstance(answers[2], BaseException)
    assert answers[0].refusal is None and answers[2].refusal is None


async def test_a_known_key_with_other_facts_is_refused_with_what_is_stored(poster: Poster, world: World) -> None:
    """A run repeated after a crash that learned something else is told; one that only measured otherwise is not."""
    charge_id = new_identifier("ch")
    key = f"{charge_id}:1"
    unknown = world.charge(charge_id, status="unknown")
    assert (await poster.post(world.posting(key=key, records=(unknown,)))).refusal is None
    approved = world.charge(charge_id, status="settled")
    measured = dataclasses.replace(unknown, document=unknown.document | {"latency_ms": 12.5})
    other, same, moved = await asyncio.gather(
        poster.post(world.posting(key=key, records=(approved,))),
        poster.post(world.posting(key=key, records=(measured,))),
        poster.post(world.posting(world.movement("a", "b", 1), key=key, records=(unknown,))),
    )
    assert same.refusal is None and same.duplicate and same.documents == {charge_id: unknown.document}
    for result in (other, moved):
        assert result.refusal is not None and result.refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS
        assert result.documents == {charge_id: unknown.document} and result.versions == {charge_id: 1}
    later = dataclasses.replace(unknown, version=3)
    assert (await poster.post(world.posting(key=f"{charge_id}:3", records=(later,)))).refusal is None
    behind = await poster.post(world.posting(key=key, records=(approved,)))
    assert behind.refusal is not None and behind.versions == {charge_id: 3}


async def test_create_only_sees_an_id_in_use_also_beside_a_repetition_of_its_posting(
    poster: Poster, world: World
) -> None:
    """Found by Hypothesis: the stored version was looked up for the first record of an id in a batch only."""
    charge = world.charge(new_identifier("ch"))
    first = world.posting(records=(charge,))
    assert (await poster.post(first)).refusal is None
    creating = world.posting(records=(dataclasses.replace(charge, create_only=True),))
    # The first one goes alone; the other three gather and make one batch.
    answers = await asyncio.gather(*(poster.post(one) for one in (world.posting(), first, world.posting(), creating)))
    assert answers[1].duplicate
    assert answers[3].refusal is not None and answers[3].refusal.code is RefusalCode.ALREADY_EXISTS


@pytest.mark.parametrize("seconds_left", [-1, 3600])
async def test_a_quote_is_used_in_time_by_the_clock_of_the_database(
    poster: Poster, world: World, reader: psycopg.AsyncConnection, seconds_left: int
) -> None:
    """Whoever let it pass before: past its time nothing moves; what moved in time is answered again later."""
    await poster.post(world.opens(world.opening("bank"), world.opening("a")))
    quote_id = new_identifier("fxq")
    ends = datetime.now(UTC) + timedelta(seconds=seconds_left)
    document = {"id": quote_id, "status": "used", "expires_at": ends.isoformat()}
    used = Record(kind=RecordKind.FX_QUOTE, id=quote_id, version=2, document=document)
    posting = world.posting(world.movement("bank", "a", 5), records=(used,))
    result = await poster.post(posting)
    if seconds_left > 0:
        assert result.refusal is None and (await poster.post(posting)).duplicate
        late = {**document, "expires_at": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
        again = dataclasses.replace(posting, records=(dataclasses.replace(used, document=late),))
        assert (await poster.post(again)).duplicate
    else:
        assert result.refusal is not None
        assert (result.refusal.code, result.refusal.object_id) == (RefusalCode.FX_QUOTE_EXPIRED, quote_id)
        assert await fetch(reader, "SELECT 1 FROM fx_quotes WHERE id = %s", quote_id) == []
        assert await fetch(reader, "SELECT balance_minor FROM accounts WHERE code = %s", world.code("a")) == [(0,)]
