"""Capture, void, refund and payout from outside: what the client is told, the balances, the rails' truth."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.shop import Document, Shop, World, assert_problem, fresh_key

AMOUNT, FEE = 8420, 158
IBAN = "DE89370400440532013000"


@pytest.fixture
def account(shop: Shop) -> str:
    """An account of its own, so that balances are this test's alone."""
    return shop.account()


def _authorized(shop: Shop, account: str) -> Document:
    answer = shop.charge("tok_visa_4291", account=account, capture=False)
    assert (answer.status_code, answer.json()["status"]) == (201, "authorized"), answer.text
    charge: Document = answer.json()
    assert _standing(shop, account) == (0, AMOUNT, 0), "held for the merchant, not spendable"
    return charge


def _standing(shop: Shop, account: str) -> tuple[int, int, int]:
    balance = shop.get(f"/accounts/{account}/balance")
    return balance["posted"], balance["pending_credits"], balance["available"]


def _effects(world: World, charge: Document) -> list[tuple[str, int]]:
    return [(row["kind"], row["amount"]) for row in world.operations_of(charge["id"]) if row["outcome"] == "approved"]


def test_capture_takes_all(shop: Shop, world: World, account: str) -> None:
    charge = _authorized(shop, account)
    done = shop.post(f"/charges/{charge['id']}/capture")
    assert done.status_code == 200, done.text
    assert (done.json()["status"], done.json()["fee"], done.json()["amount_captured"]) == ("settled", FEE, AMOUNT)
    assert _standing(shop, account) == (AMOUNT - FEE, 0, AMOUNT - FEE)
    assert _effects(world, charge) == [("authorize", AMOUNT), ("capture", AMOUNT)]


def test_a_partial_capture_releases_the_rest(shop: Shop, world: World, account: str) -> None:
    charge = _authorized(shop, account)
    key = fresh_key()
    done = shop.post(f"/charges/{charge['id']}/capture", {"amount": 3_000}, key=key).json()
    # 1.40 % of 30.00 is 0.42, plus 0.40.
    assert (done["amount_captured"], done["fee"], done["net"]) == (3_000, 82, 2_918)
    assert _standing(shop, account) == (2_918, 0, 2_918)
    again = shop.post(f"/charges/{charge['id']}/capture", {"amount": 3_000}, key=key)
    assert (again.status_code, again.json()) == (200, done)
    assert_problem(
        shop.post(f"/charges/{charge['id']}/capture", {"amount": 2_999}, key=key), 422, "idempotency_key_reused"
    )
    assert_problem(shop.post(f"/charges/{charge['id']}/capture", {"amount": 1}), 409)
    assert _effects(world, charge) == [("authorize", AMOUNT), ("capture", 3_000)]


def test_captures_in_parts_and_the_bound(shop: Shop, world: World, account: str) -> None:
    charge = _authorized(shop, account)
    path = f"/charges/{charge['id']}/capture"
    first = shop.post(path, {"amount": 3_000, "final": False}).json()
    assert first["status"] == "authorized" and _standing(shop, account) == (2_918, 5_420, 2_918)
    over = assert_problem(shop.post(path, {"amount": 5_421}), 409)
    assert over["remaining"] == 5_420
    rest = shop.post(path, {"amount": 5_420}).json()
    assert (rest["status"], rest["amount_captured"]) == ("settled", AMOUNT)
    # 1.40 % of 54.20 is 0.7588, so 0.76; the fixed part was charged with the first capture.
    assert rest["fee"] == 82 + 76 and _standing(shop, account)[1] == 0
    assert shop.posted(account) == AMOUNT - rest["fee"]
    assert _effects(world, charge) == [("authorize", AMOUNT), ("capture", 3_000), ("capture", 5_420)]


def test_void_releases_the_hold(shop: Shop, world: World, account: str) -> None:
    charge = _authorized(shop, account)
    key = fresh_key()
    done = shop.post(f"/charges/{charge['id']}/void", key=key)
    assert (done.status_code, done.json()["status"]) == (200, "voided")
    assert _standing(shop, account) == (0, 0, 0)
    assert shop.post(f"/charges/{charge['id']}/void", key=key).json() == done.json()
    assert_problem(shop.post(f"/charges/{charge['id']}/capture"), 409)
    assert _effects(world, charge) == [("authorize", AMOUNT), ("void", AMOUNT)]


def test_capture_racing_void_has_one_winner(shop: Shop, world: World, account: str) -> None:
    charge = _authorized(shop, account)

    def ask(verb: str) -> Any:
        return shop.post(f"/charges/{charge['id']}/{verb}")

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(ask, ("capture", "void")))
    assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
    captured = answers[0].status_code == 200
    assert shop.posted(account) == (AMOUNT - FEE if captured else 0)
    assert [kind for kind, _ in _effects(world, charge)] == ["authorize", "capture" if captured else "void"]


def test_two_captures_at_once_have_one_winner(shop: Shop, world: World, account: str) -> None:
    charge = _authorized(shop, account)

    def capture(_: int) -> Any:
        return shop.post(f"/charges/{charge['id']}/capture", {"amount": 5_000, "final": False})

    with ThreadPoolExecutor(2) as threads:
        answers = sorted(threads.map(capture, range(2)), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 409], [answer.text for answer in answers]
    assert answers[1].json()["remaining"] == AMOUNT - 5_000
    assert _effects(world, charge) == [("authorize", AMOUNT), ("capture", 5_000)]


def test_refunds_stay_within_what_was_captured(shop: Shop, world: World, account: str) -> None:
    charge = shop.charge("tok_visa_4291", account=account).json()
    assert shop.post(f"/accounts/{account}/fund", {"amount": FEE}).status_code == 201
    assert_problem(
        shop.post("/refunds", {"charge": charge["id"], "amount": AMOUNT + 1}), 422, "exceeds_refundable_amount"
    )
    key = fresh_key()
    part = shop.post("/refunds", {"charge": charge["id"], "amount": 2_000}, key=key)
    assert (part.status_code, part.json()["status"]) == (201, "succeeded"), part.text
    assert shop.posted(account) == AMOUNT - 2_000
    assert shop.post("/refunds", {"charge": charge["id"], "amount": 2_000}, key=key).json() == part.json()
    assert_problem(shop.post("/refunds", {"charge": charge["id"], "amount": 6_421}), 422, "exceeds_refundable_amount")
    rest = shop.post("/refunds", {"charge": charge["id"]}).json()
    assert (rest["status"], rest["amount"]) == ("succeeded", AMOUNT - 2_000)
    assert_problem(shop.post("/refunds", {"charge": charge["id"]}), 422, "exceeds_refundable_amount")
    assert shop.posted(account) == 0 and shop.get(f"/charges/{charge['id']}")["amount_refunded"] == AMOUNT
    refunded = [world.operations_of(refund["id"]) for refund in (part.json(), rest)]
    assert [[(row["kind"], row["amount"]) for row in rows] for rows in refunded] == [
        [("refund", 2_000)],
        [("refund", AMOUNT - 2_000)],
    ]


def test_many_refunds_at_once_never_give_back_more_than_was_taken(shop: Shop, account: str) -> None:
    charge = shop.charge("tok_visa_4291", account=account).json()
    assert shop.post(f"/accounts/{account}/fund", {"amount": 100_000}).status_code == 201

    def refund(_: int) -> Any:
        return shop.post("/refunds", {"charge": charge["id"], "amount": 3_000})

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(refund, range(8)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, *[422] * 6]
    assert shop.posted(account) == 100_000 + AMOUNT - FEE - 6_000


def test_an_uncaptured_charge_is_voided_not_refunded(shop: Shop, account: str) -> None:
    charge = _authorized(shop, account)
    assert_problem(shop.post("/refunds", {"charge": charge["id"]}), 409, "use_void")
    assert_problem(shop.post("/refunds", {"charge": "ch_nobody"}), 404)
    settled = shop.charge("tok_visa_4291", account=account).json()
    assert_problem(shop.post(f"/charges/{settled['id']}/void"), 409)
    assert _standing(shop, account) == (AMOUNT - FEE, AMOUNT, AMOUNT - FEE)


def _payout(shop: Shop, source: str, *, name: str = "Ada Ordinary", key: str | None = None, **fields: Any) -> Any:
    destination = {"type": "iban", "iban": IBAN, "name": name}
    body = {"amount": 4_000, "currency": "EUR", "source": source, "destination": destination, **fields}
    return shop.post("/payouts", body, key=key)


def test_a_payout_is_paid_once(shop: Shop, world: World) -> None:
    source, key = shop.account(funds=10_000), fresh_key()
    answer = _payout(shop, source, key=key)
    assert answer.status_code in (201, 202), answer.text
    payout = shop.await_status(f"/payouts/{answer.json()['id']}", "paid")
    assert shop.posted(source) == 6_000
    assert _payout(shop, source, key=key).json() == payout
    assert [(row["kind"], row["amount"], row["outcome"]) for row in world.operations_of(payout["id"])] == [
        ("payout", 4_000, "approved")
    ]
    assert shop.posted(source) == 6_000


@pytest.mark.parametrize(
    ("name", "status", "left"), [("Ada DECLINE", "failed", 10_000), ("Ada TIMEOUT", "paid", 6_000)]
)
def test_a_payout_the_rail_declines_or_loses(shop: Shop, world: World, name: str, status: str, left: int) -> None:
    source = shop.account(funds=10_000)
    answer = _payout(shop, source, name=name, rail="bank_instant")
    payout_id = (answer.json().get("payout") or answer.json())["id"]
    shop.await_status(f"/payouts/{payout_id}", status)
    assert shop.posted(source) == left
    approved = [row for row in world.operations_of(payout_id) if row["outcome"] == "approved"]
    assert len(approved) == (1 if status == "paid" else 0)


def test_payouts_the_core_refuses(shop: Shop, world: World) -> None:
    source, orders = shop.account(funds=3_999), len(world.truth()["operations"])
    assert_problem(_payout(shop, source), 422, "exceeds_available_balance")
    unfit: list[dict[str, Any]] = [
        {"destination": {"type": "iban", "iban": "DE00370400440532013000", "name": "Ada"}},
        {"destination": {"type": "pigeon", "name": "Ada"}},
        {"destination": {"type": "usdc", "address": f"0x{'a' * 40}", "chain": "base"}},
        {"currency": "USD"},
        {"amount": 0},
    ]
    for change in unfit:
        answer = _payout(shop, source, **change)
        assert_problem(answer, 422)
    assert_problem(_payout(shop, "acct_nobody_has_it"), 404)
    assert shop.posted(source) == 3_999 and len(world.truth()["operations"]) == orders
