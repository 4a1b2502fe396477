"""Every token of the contract's table behaves as listed, and the books follow what the rails did."""

import pytest

from tests.e2e.shop import Document, Shop, World, assert_problem, fresh_key

AMOUNT, FEE = 8420, 158


@pytest.fixture
def account(shop: Shop) -> str:
    """An account of its own, so that balances are this test's alone."""
    return shop.account()


def _declined(shop: Shop, source: str, account: str, code: str = "card_declined") -> Document:
    charge: Document = assert_problem(shop.charge(source, account=account), 402, code)["charge"]
    assert charge["status"] == "declined" and (charge["fee"], charge["amount_captured"]) == (0, 0)
    assert shop.posted(account) == 0
    return charge


def _outcomes(charge: Document) -> list[str]:
    return [attempt["outcome"] for attempt in charge["attempts"]]


def _approved_rows(world: World, charge: Document) -> list[Document]:
    return [row for row in world.operations_of(charge["id"]) if row["outcome"] == "approved"]


def _assert_settled(shop: Shop, world: World, charge: Document, account: str) -> None:
    assert charge["status"] in ("settled", "captured"), charge
    assert (charge["fee"], charge["amount_captured"]) == (FEE, AMOUNT)
    (approved,) = _approved_rows(world, charge)
    assert (approved["rail"], approved["amount"], approved["capture"]) == (charge["rail"], AMOUNT, True)
    assert shop.posted(account) == AMOUNT - FEE


def test_visa_is_approved(shop: Shop, world: World, account: str) -> None:
    answer = shop.charge("tok_visa_4291", account=account)
    assert (answer.status_code, answer.json()["status"]) == (201, "settled")
    assert _outcomes(answer.json()) == ["approved"]
    _assert_settled(shop, world, answer.json(), account)


def test_declined_hard_stops_at_the_first_rail(shop: Shop, world: World, account: str) -> None:
    charge = _declined(shop, "tok_declined_hard", account)
    assert charge["decline_class"] == "hard" and _outcomes(charge) == ["declined"]
    assert _approved_rows(world, charge) == []


def test_declined_soft_is_declined_everywhere(shop: Shop, world: World, account: str) -> None:
    charge = _declined(shop, "tok_declined_soft", account)
    assert charge["decline_class"] == "soft"
    rails = [attempt["rail"] for attempt in charge["attempts"]]
    assert len(rails) >= 2 and len(set(rails)) == len(rails), "each rail once"
    assert [row["outcome"] for row in world.operations_of(charge["id"])] == ["declined"] * len(rails)


def test_soft_then_approved_fails_over(shop: Shop, world: World, account: str) -> None:
    answer = shop.charge("tok_soft_then_approved", account=account)
    assert answer.status_code == 201
    charge = answer.json()
    assert _outcomes(charge) == ["declined", "approved"]
    assert [attempt["rail"] for attempt in charge["attempts"]] == [option["rail"] for option in charge["route"][:2]]
    _assert_settled(shop, world, charge, account)


def test_a_forced_rail_never_fails_over(shop: Shop, account: str) -> None:
    answer = shop.charge("tok_soft_then_approved", account=account, rail="card_beta")
    charge = assert_problem(answer, 402, "card_declined")["charge"]
    assert [attempt["rail"] for attempt in charge["attempts"]] == ["card_beta"]
    assert shop.posted(account) == 0


def test_hard_then_approved_is_not_tried_again(shop: Shop, account: str) -> None:
    assert len(_declined(shop, "tok_hard_then_approved", account)["attempts"]) == 1


def test_not_attempted_goes_to_the_next_rail(shop: Shop, world: World, account: str) -> None:
    answer = shop.charge("tok_not_attempted", account=account)
    assert answer.status_code == 201
    assert _outcomes(answer.json()) == ["not_attempted", "approved"]
    _assert_settled(shop, world, answer.json(), account)


def test_timeout_approved_is_asked_and_settles_once(shop: Shop, world: World, account: str) -> None:
    key = fresh_key()
    answer = shop.charge("tok_timeout_approved", account=account, key=key)
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "unknown" and answer.json()["next_check_at"]
    charge = shop.await_status(f"/charges/{answer.json()['id']}", "settled", "captured")
    assert len(charge["attempts"]) == 1, "unknown is never failed over"
    _assert_settled(shop, world, charge, account)
    again = shop.charge("tok_timeout_approved", account=account, key=key)
    assert (again.status_code, again.json()) == (201, charge)
    assert [row["kind"] for row in world.operations_of(charge["id"])] == ["authorize"]


def test_timeout_declined_is_asked_and_declined(shop: Shop, world: World, account: str) -> None:
    answer = shop.charge("tok_timeout_declined", account=account)
    assert (answer.status_code, answer.json()["status"]) == (202, "unknown")
    charge = shop.await_status(f"/charges/{answer.json()['id']}", "declined")
    assert len(charge["attempts"]) == 1 and _approved_rows(world, charge) == []
    assert shop.posted(account) == 0


def test_timeout_forever_ends_with_a_person(shop: Shop, account: str) -> None:
    answer = shop.charge("tok_timeout_forever", account=account)
    assert (answer.status_code, answer.json()["status"]) == (202, "unknown")
    charge_id = answer.json()["id"]
    # The last scheduled inquiry is 15 s after the first silence.
    opened = shop.await_list(
        "/reconciliation/exceptions", lambda exception: exception["subject"] == charge_id, seconds=40, status="open"
    )
    assert [exception["kind"] for exception in opened] == ["unknown_outcome"]
    charge = shop.get(f"/charges/{charge_id}")
    assert charge["status"] == "unknown" and len(charge["attempts"]) == 1
    assert shop.posted(account) == 0


def test_the_issuers_step_up_waits_for_the_customer(shop: Shop, world: World, account: str) -> None:
    answer = shop.charge("tok_3ds", account=account)
    assert (answer.status_code, answer.json()["status"]) == (201, "requires_action"), answer.text
    charge = answer.json()
    assert charge["next_action"]["url"].startswith("http") and shop.posted(account) == 0
    key = fresh_key()
    done = shop.post(f"/charges/{charge['id']}/authenticate", {"result": "success"}, key=key)
    assert done.status_code == 200, done.text
    assert _outcomes(done.json()) == ["declined", "approved"]
    _assert_settled(shop, world, done.json(), account)
    again = shop.post(f"/charges/{charge['id']}/authenticate", {"result": "success"}, key=key)
    assert (again.status_code, again.json()) == (200, done.json())


def test_a_failed_step_declines(shop: Shop, world: World, account: str) -> None:
    charge = shop.charge("tok_3ds", account=account).json()
    answer = shop.post(f"/charges/{charge['id']}/authenticate", {"result": "failure"})
    assert_problem(answer, 402, "authentication_failed")
    assert _approved_rows(world, charge) == [] and shop.posted(account) == 0
    late = shop.post(f"/charges/{charge['id']}/authenticate", {"result": "success"})
    assert_problem(late, 409)


def test_risk_blocks_before_any_rail(shop: Shop, world: World, account: str) -> None:
    charge = _declined(shop, "tok_risk_block", account, code="blocked_by_risk")
    assert charge["risk"]["decision"] == "block" and charge["attempts"] == []
    assert world.operations_of(charge["id"]) == []


def test_risk_steps_up_before_any_rail(shop: Shop, world: World, account: str) -> None:
    charge = shop.charge("tok_risk_step_up", account=account).json()
    assert (charge["status"], charge["risk"]["decision"]) == ("requires_action", "step_up")
    assert world.operations_of(charge["id"]) == []
    done = shop.post(f"/charges/{charge['id']}/authenticate", {"result": "success"})
    assert done.status_code == 200, done.text
    _assert_settled(shop, world, done.json(), account)


def test_a_refund_that_fails_later_gives_the_money_back(shop: Shop, account: str) -> None:
    charge = shop.charge("tok_refund_fails", account=account).json()
    refund = shop.post("/refunds", {"charge": charge["id"], "amount": 1_000})
    assert refund.status_code in (201, 202), refund.text
    assert refund.json()["status"] == "pending"
    held = shop.get(f"/accounts/{account}/balance")
    assert (held["posted"], held["available"]) == (AMOUNT - FEE, AMOUNT - FEE - 1_000)
    shop.await_status(f"/refunds/{refund.json()['id']}", "failed")
    freed = shop.get(f"/accounts/{account}/balance")
    assert (freed["posted"], freed["available"]) == (AMOUNT - FEE, AMOUNT - FEE)
    assert shop.get(f"/charges/{charge['id']}")["amount_refunded"] == 0


def test_a_chargeback_arrives(shop: Shop, world: World, account: str) -> None:
    charge = shop.charge("tok_disputed", account=account).json()
    assert charge["status"] == "settled"
    (dispute,) = shop.await_list("/disputes", lambda dispute: dispute["charge"] == charge["id"], seconds=30)
    assert (dispute["amount"], dispute["status"]) == (AMOUNT, "needs_response")
    assert shop.posted(account) == AMOUNT - FEE - AMOUNT - dispute["fee"]
    assert [row["amount"] for row in world.truth()["disputes"] if row["rail_key"].startswith(charge["id"])] == [AMOUNT]


def test_after_all_of_them_the_pages_card_still_settles(shop: Shop, account: str) -> None:
    answer = shop.charge("tok_visa_4291", account=account)
    assert (answer.status_code, answer.json()["status"], answer.json()["fee"]) == (201, "settled", FEE)
