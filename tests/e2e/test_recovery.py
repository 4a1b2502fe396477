"""A worker killed between a rail's deed and the books: the order is taken up again, never given twice.

Each case is one that the simulation found; here it is arranged step by step.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.instance import API, TEMPORAL, LedgerlineInstance, running_instance, wait_until
from tests.e2e.shop import Document, Shop, World, fresh_key, object_of

AMOUNT, FEE = 8420, 158
IBAN = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada Ordinary"}
LATE_MS = 3_500
"""Past the deadline a rail has for its answer (2.5 s)."""
RECOVERY_SECONDS_MAX = 60.0


@pytest.fixture(scope="module")
def own(scratch: Path) -> Iterator[LedgerlineInstance]:
    """An instance of its own: its parts are killed."""
    with running_instance(scratch / "recovery-home") as running:
        yield running


@pytest.fixture
def shop(own: LedgerlineInstance) -> Iterator[Shop]:
    """The sandbox merchant."""
    client = Shop(own.sandbox["api_url"], own.sandbox["test_key"])
    yield client
    client.close()


@pytest.fixture
def world(own: LedgerlineInstance) -> Iterator[World]:
    """The rails."""
    rails = World(own.sandbox["rails_url"])
    yield rails
    rails.heal()
    rails.close()


def _send_and_forget(own: LedgerlineInstance, path: str, body: Document, key: str) -> threading.Thread:
    """A client in the middle of whose request the server dies."""

    def send() -> None:
        client = Shop(own.sandbox["api_url"], own.sandbox["test_key"])
        with contextlib.suppress(httpx.TransportError):
            client.post(path, body, key=key)
        client.close()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def _ask_again(shop: Shop, path: str, body: Document, key: str) -> Document:
    """The answer to a repeated request, once there is one."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        with contextlib.suppress(httpx.TransportError):
            answers.append(shop.post(path, body, key=key))
            return answers[-1].status_code in (200, 201)
        return False

    wait_until(answered, seconds=RECOVERY_SECONDS_MAX, what=lambda: answers[-1].text if answers else "no answer")
    document: Document = answers[-1].json()
    return document


def _approved(world: World, kind: str, reference: str | None = None) -> list[Document]:
    return [
        row
        for row in world.truth()["operations"]
        if row["kind"] == kind
        and row["outcome"] == "approved"
        and (reference is None or reference in (object_of(row["rail_key"]), object_of(row["original_rail_key"] or "")))
    ]


def test_another_answer_on_the_second_run_is_not_lost(own: LedgerlineInstance, shop: Shop, world: World) -> None:
    """First run: no answer, `unknown` is committed, the worker dies. Second run: the rail says yes."""
    account, key = shop.account(), fresh_key()
    body = {"amount": AMOUNT, "currency": "EUR", "source": "tok_visa_4291", "account": account}
    before = len(_approved(world, "authorize"))
    world.inject(kind="delay", delay_ms=LATE_MS, flow="authorize", count=1)
    client = _send_and_forget(own, "/charges", body, key)
    wait_until(lambda: len(_approved(world, "authorize")) > before, seconds=20, what=lambda: "an authorization")
    temporal = own.pid_of(TEMPORAL)
    # Frozen, so that the workflow task that committed `unknown` cannot be completed before the kill.
    os.kill(temporal, signal.SIGSTOP)
    try:

        def is_unknown() -> bool:
            return [one["status"] for one in shop.every("/charges") if one["account"] == account] == ["unknown"]

        wait_until(is_unknown, seconds=20, what=lambda: "the charge is unknown")
        killed = own.kill_part(API)
    finally:
        os.kill(temporal, signal.SIGCONT)
    client.join()
    own.await_restart(API, killed)
    charge = _ask_again(shop, "/charges", body, key)
    charge = shop.await_status(f"/charges/{charge['id']}", "settled", seconds=RECOVERY_SECONDS_MAX)
    assert shop.posted(account) == AMOUNT - FEE
    assert len(_approved(world, "authorize", charge["id"])) == 1


def test_rule_10_an_orphan_is_given_back_once_though_the_worker_dies(
    own: LedgerlineInstance, shop: Shop, world: World
) -> None:
    """The rail gives the money back and the worker dies before it hears of it; nothing is given back twice."""
    account = shop.account()
    world.inject(kind="delay", delay_ms=LATE_MS, flow="refund", count=1)
    charge = shop.charge("tok_late_approved", account=account).json()
    assert [one["outcome"] for one in charge["attempts"]] == ["declined", "approved"]
    before = len(_approved(world, "refund"))
    wait_until(lambda: len(_approved(world, "refund")) > before, seconds=30, what=lambda: "the orphan is refunded")
    own.await_restart(API, own.kill_part(API))

    def resolved() -> bool:
        found = [one for one in shop.every("/reconciliation/exceptions") if one["subject"] == charge["id"]]
        return [one["status"] for one in found] == ["resolved"]

    wait_until(resolved, seconds=RECOVERY_SECONDS_MAX, what=lambda: str(shop.every("/reconciliation/exceptions")))
    assert len(_approved(world, "refund", charge["id"])) == 1
    assert shop.posted(account) == AMOUNT - FEE
    events = [one["type"] for one in shop.every("/events") if one["data"]["object"].get("subject") == charge["id"]]
    assert events == ["charge.orphan_detected", "charge.orphan_reversed"]


def test_a_charges_payout_happens_once_though_the_worker_dies(
    own: LedgerlineInstance, shop: Shop, world: World
) -> None:
    """The payout is sent, the worker dies before the answer: the next one takes it up; one payout at the rail."""
    account = shop.account()
    world.inject(kind="delay", delay_ms=LATE_MS, flow="payout", count=1)
    answer = shop.charge("tok_visa_4291", account=account, payout={"destination": IBAN, "rail": "bank_instant"})
    charge = answer.json()
    assert answer.status_code == 201 and charge["status"] == "settled", answer.text
    name = charge["payout"]["id"]

    def sent() -> bool:
        return any(object_of(row["rail_key"]) == name for row in _approved(world, "payout"))

    wait_until(sent, seconds=30, what=lambda: "the rail has paid")
    own.await_restart(API, own.kill_part(API))
    shop.await_status(f"/payouts/{name}", "paid", seconds=RECOVERY_SECONDS_MAX)
    assert len([row for row in _approved(world, "payout") if object_of(row["rail_key"]) == name]) == 1
    assert shop.posted(account) == 0


def test_an_order_refused_on_the_second_run_was_given_on_the_first(
    own: LedgerlineInstance, shop: Shop, world: World
) -> None:
    """First run: the rail does it, the worker dies. Second run: the connection is refused. No third order."""
    account = shop.account(funds=50_000)
    settled = shop.charge("tok_visa_4291", account=account).json()
    held = shop.charge("tok_visa_4291", account=account, capture=False).json()
    before = shop.posted(account)
    requests: dict[str, tuple[str, dict[str, Any], str]] = {
        "authorize": (
            "/charges",
            {"amount": AMOUNT, "currency": "EUR", "source": "tok_visa_4291", "account": account},
            fresh_key(),
        ),
        "capture": (f"/charges/{held['id']}/capture", {"amount": 3_000, "final": False}, fresh_key()),
        "refund": ("/refunds", {"charge": settled["id"], "amount": 1_000}, fresh_key()),
        "payout": (
            "/payouts",
            {"amount": 2_000, "currency": "EUR", "source": account, "destination": IBAN, "rail": "bank_instant"},
            fresh_key(),
        ),
    }
    done = {flow: len(_approved(world, flow)) for flow in requests}
    for flow in requests:
        world.inject(kind="delay", delay_ms=LATE_MS, flow=flow, count=1)
        world.inject(kind="refuse", flow=flow, count=1)
    clients = [_send_and_forget(own, *request) for request in requests.values()]

    def all_done() -> bool:
        return all(len(_approved(world, flow)) > count for flow, count in done.items())

    wait_until(all_done, seconds=20, what=lambda: "the rails have done all four")
    own.await_restart(API, own.kill_part(API))
    for client in clients:
        client.join()
    answers = {flow: _ask_again(shop, *request) for flow, request in requests.items()}

    assert [answers[flow]["status"] for flow in requests] == ["settled", "authorized", "succeeded", "paid"], answers
    assert {flow: len(_approved(world, flow)) - count for flow, count in done.items()} == dict.fromkeys(requests, 1)
    assert answers["capture"]["amount_captured"] == 3_000
    # The capture's fee: 1.40 % of 30.00 plus 0.40.
    assert shop.posted(account) == before + (AMOUNT - FEE) + (3_000 - 82) - 1_000 - 2_000
