"""Stripe's events: signed, ours or not, late and in any order; and lines of rails.toml that are wrong."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from domain.inbound import Callback, CallbackRefusedError, CallbackUnreadableError, InboundKind
from domain.rail import DeclineClass, Flow, Outcome, RailRequest
from rails.adapter import CallbackReader, CardDetails
from rails.adapters.stripe.adapter import build
from rails.adapters.stripe.surfaces import SURFACES
from rails.adapters.stripe.wire import encode_form
from tests.rails.stripe_peers import StripePeer, localstripe

SECRET = "whsec_of_this_test"


def reader(folder: Path, **line: str) -> CallbackReader:
    (folder / "key").write_text(line.pop("key", "sk_test_x"))
    (folder / "secret").write_text(SECRET + "\n")
    (adapter,) = build(
        {"name": "cards", "api_key_file": str(folder / "key"), "webhook_secret_file": str(folder / "secret"), **line}
    )
    assert isinstance(adapter, CallbackReader)
    return adapter


def callback(event: Any, *, at: float | None = None, secret: str = SECRET) -> Callback:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    stamp = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"stripe-signature": f"t={stamp},v1={'0' * 64},v1={digest},v0=old"}
    return Callback(headers=headers, body=body, received_at=time.time())


def event(kind: str, shown: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": f"evt_{kind}", "type": kind, "livemode": False, "data": {"object": shown}, **more}


def intent(status: str, **more: Any) -> dict[str, Any]:
    basics = {"object": "payment_intent", "id": "pi_1", "amount": 8420, "currency": "eur", "created": 1}
    return {**basics, "status": status, "metadata": {"rail_key": "ch_1:1"}, "latest_charge": "ch_x", **more}


def refund(status: str) -> dict[str, Any]:
    basics = {"object": "refund", "id": "re_1", "amount": 8420, "currency": "eur"}
    return {**basics, "status": status, "metadata": {"rail_key": "re_1:1"}, "failure_reason": "lost_or_stolen_card"}


def test_only_what_stripe_signed_lately_is_read(tmp_path: Path) -> None:
    cards = reader(tmp_path)
    good = event("payment_intent.succeeded", intent("succeeded"))
    assert len(cards.read_callback(callback(good))) == 1
    for bad in (
        callback(good, secret="whsec_other"),
        callback(good, at=time.time() - 400),
        callback(good, at=time.time() + 400),
    ):
        with pytest.raises(CallbackRefusedError):
            cards.read_callback(bad)
    unsigned = Callback(headers={}, body=b"{}", received_at=time.time())
    with pytest.raises(CallbackRefusedError):
        cards.read_callback(unsigned)
    (without,) = build({"name": "cards", "api_key_file": str(tmp_path / "key")})
    assert isinstance(without, CallbackReader)
    with pytest.raises(CallbackRefusedError):  # no secret is no reason to believe everybody
        without.read_callback(callback(good, secret=""))
    for garbled in (b"{", b"[]", {"id": "evt_1"}, event("payment_intent.succeeded", intent("no such status"))):
        with pytest.raises(CallbackUnreadableError):
            cards.read_callback(callback(garbled))


def test_what_an_event_tells(tmp_path: Path) -> None:
    cards = reader(tmp_path)
    failed = {"code": "card_declined", "decline_code": "stolen_card"}
    told = [
        ("payment_intent.succeeded", intent("succeeded"), Outcome.APPROVED),
        ("payment_intent.amount_capturable_updated", intent("requires_capture"), Outcome.APPROVED),
        (
            "payment_intent.payment_failed",
            intent("requires_payment_method", last_payment_error=failed),
            Outcome.DECLINED,
        ),
        ("payment_intent.processing", intent("processing"), None),
        ("payment_intent.requires_action", intent("requires_action", latest_charge=None), None),
        ("charge.refund.updated", refund("succeeded"), Outcome.APPROVED),
        ("refund.failed", refund("failed"), Outcome.DECLINED),
        ("refund.created", refund("pending"), None),
    ]
    for kind, shown, outcome in told:
        (notice,) = cards.read_callback(callback(event(kind, shown)))
        assert notice.kind is InboundKind.OUTCOME and notice.event_id == f"evt_{kind}" and notice.rail == "cards"
        assert (notice.answer.outcome if notice.answer else None) is outcome, kind
    (declined,) = cards.read_callback(callback(event(*told[2][:2])))
    assert declined.answer is not None
    assert (declined.answer.decline_code, declined.answer.decline_class) == ("stolen_card", DeclineClass.HARD)
    for nothing in (
        event("customer.created", {"object": "customer"}),
        event("payment_intent.succeeded", intent("succeeded", metadata={})),
        event("payment_intent.succeeded", intent("succeeded"), livemode=True),
    ):
        assert cards.read_callback(callback(nothing)) == ()


def test_a_dispute_is_a_chargeback_once_money_is_gone(tmp_path: Path) -> None:
    cards = reader(tmp_path)
    dispute = {"object": "dispute", "id": "dp_9", "charge": "ch_x", "payment_intent": "pi_1", "amount": 5000}
    dispute |= {"currency": "eur", "reason": "fraudulent", "status": "needs_response"}
    dispute |= {"evidence_details": {"due_by": 1_800_000_000}}
    (notice,) = cards.read_callback(callback(event("charge.dispute.created", dispute)))
    assert (notice.kind, notice.rail_reference, notice.reference) == (InboundKind.CHARGEBACK, "pi_1", "dp_9")
    assert (notice.amount_minor, notice.currency) == (5000, "EUR")
    assert notice.evidence_due_by is not None and notice.evidence_due_by.timestamp() == 1_800_000_000
    for kind, status, told in (
        ("created", "warning_needs_response", InboundKind.INQUIRY),
        ("closed", "won", InboundKind.DISPUTE_WON),
        ("closed", "lost", InboundKind.DISPUTE_LOST),
        ("closed", "warning_closed", InboundKind.DISPUTE_CLOSED),
        ("funds_withdrawn", "needs_response", None),
        ("updated", "under_review", None),
    ):
        notices = cards.read_callback(callback(event(f"charge.dispute.{kind}", {**dispute, "status": status})))
        assert [one.kind for one in notices] == ([told] if told else []), kind


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripePeer]:
    with localstripe(tmp_path_factory.mktemp("localstripe")) as started:
        yield started


def test_a_signature_of_localstripes_own_making_is_believed(peer: StripePeer, tmp_path: Path) -> None:
    received: list[Callback] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received.append(Callback(headers=headers, body=body, received_at=time.time()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = {"url": f"http://127.0.0.1:{server.server_address[1]}/hook", "secret": SECRET}
    peer.call("POST", "/_config/webhooks/ours", data=hook).raise_for_status()
    peer.call("POST", "/v1/customers", data={"description": "somebody"}).raise_for_status()
    deadline = time.monotonic() + 10
    while not received and time.monotonic() < deadline:
        time.sleep(0.05)
    server.shutdown()
    server.server_close()
    assert received, "localstripe sent nothing"
    assert json.loads(received[0].body)["type"] == "customer.created"
    assert reader(tmp_path).read_callback(received[0]) == ()
    forged = Callback(headers=received[0].headers, body=received[0].body + b" ", received_at=time.time())
    with pytest.raises(CallbackRefusedError):
        reader(tmp_path).read_callback(forged)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"api": "sources"}, "api"),
        ({"lookup": "guess"}, "lookup"),
        ({"idempotency": "maybe"}, "idempotency"),
        ({"mode": "live"}, "other mode"),
        ({"key": "sk_live_x"}, "other mode"),
        ({"webhook_secret_file": "/nowhere/at/all"}, "webhook_secret_file"),
        ({"key": ""}, "empty"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        reader(tmp_path, **line)


def test_a_live_key_is_for_live_mode_with_time_to_answer(tmp_path: Path) -> None:
    live = reader(tmp_path, key="rk_live_x", mode="live")
    profile = live.profile  # type: ignore[attr-defined]
    assert not profile.sandbox and profile.pace.deadline_seconds == 8.0
    assert profile.takes("EUR", 50) and not profile.takes("EUR", 49) and not profile.takes("KWD", 1000)


def test_a_card_goes_out_in_the_form_and_nowhere_else() -> None:
    card = CardDetails(number="4242424242424242", exp_month=7, exp_year=2031)
    order = RailRequest(
        rail="cards", flow=Flow.AUTHORIZE, rail_key="ch_1:1", amount_minor=100, currency="EUR", merchant_id="m",
        mode="test", authentication={"result": "success", "cryptogram": "AAE=", "version": "2.2.0"},
    )  # fmt: skip
    form = encode_form(SURFACES["payment_intents"].authorize(order, card).fields).decode()
    assert "payment_method_data%5Bcard%5D%5Bnumber%5D=4242424242424242" in form
    assert "three_d_secure%5D%5Bcryptogram%5D=AAE%3D" in form and "result" not in form
    assert "confirm=true" in form and "capture_method=manual" in form
    charge = encode_form(SURFACES["charges"].authorize(order, card).fields).decode()
    assert "source%5Bobject%5D=card" in charge and "capture=false" in charge
    assert "4242" not in repr(card)
