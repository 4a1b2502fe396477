"""Reading answers and silence: nothing is called definite that isn't."""

import json
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rail import DeclineClass, Flow, Outcome, RailRequest
from rails.adapter import CardDetails
from rails.adapters.sandbox.wire import GarbledAnswerError, decode_answer, encode_order, says_not_attempted
from rails.outcomes import classify_decline, classify_failure, classify_status
from rails.sandbox.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_rule_07_failures_before_the_body_left_are_not_attempted(error: type[httpx.HTTPError]) -> None:
    assert classify_failure(error("x")) is Outcome.NOT_ATTEMPTED


@pytest.mark.parametrize(
    "error",
    [httpx.ReadTimeout, httpx.ReadError, httpx.WriteError, httpx.WriteTimeout, httpx.RemoteProtocolError],
)
def test_rule_07_failures_after_that_are_unknown(error: type[httpx.HTTPError]) -> None:
    assert classify_failure(error("x")) is Outcome.UNKNOWN
    assert classify_failure(TimeoutError()) is Outcome.UNKNOWN


@given(status=st.integers(201, 599), says=st.booleans())
def test_rule_07_no_status_is_an_approval_and_no_5xx_is_definite(status: int, says: bool) -> None:
    outcome = classify_status(status, says_not_attempted=says, guarantees_not_attempted=False)
    assert outcome in (Outcome.UNKNOWN, Outcome.DECLINED, Outcome.NOT_ATTEMPTED)
    if status >= 500 or status in (408, 409, 425, 429) or status < 400:
        assert outcome is Outcome.UNKNOWN


def test_a_guarantee_makes_the_marker_count() -> None:
    assert classify_status(503, says_not_attempted=True, guarantees_not_attempted=True) is Outcome.NOT_ATTEMPTED
    assert classify_status(503, says_not_attempted=False, guarantees_not_attempted=True) is Outcome.UNKNOWN


def test_decline_codes_of_the_table() -> None:
    assert classify_decline("card_alpha", "insufficient_funds") is DeclineClass.SOFT
    assert classify_decline("card_alpha", "stolen_card") is DeclineClass.HARD
    assert classify_decline("card_alpha", "authentication_required") is DeclineClass.SCA_REQUIRED
    assert classify_decline("card_alpha", "expired_card") is DeclineClass.DATA_FIX
    assert classify_decline("card_alpha", "insufficient_funds", "do_not_try_again") is DeclineClass.HARD


@given(code=st.text(max_size=20).map(lambda code: f"never heard of {code}"))
def test_rule_11_an_unmapped_code_is_never_retried(code: str) -> None:
    assert classify_decline("card_alpha", code) is DeclineClass.HARD
    assert classify_decline("card_alpha", code, code) is DeclineClass.HARD


def test_every_code_the_sandbox_gives_is_in_the_table() -> None:
    table = json.loads((ROOT / "rails" / "decline_codes.json").read_text())["codes"]["*"]
    given_codes = {conduct.decline_code for pair in SCENARIOS.values() for conduct in pair} - {None}
    truth = (ROOT / "rails" / "sandbox" / "truth.py").read_text()
    given_codes |= set(re.findall(r'_declines\("([a-z_]+)"\)', truth))
    given_codes |= set(re.findall(r'return "([a-z_]+)" if', truth)) | {"authorization_voided"}
    assert len(given_codes) > 10
    assert given_codes - set(table) == set()
    assert {DeclineClass(decline_class) for decline_class in table.values()} == set(DeclineClass)


@given(body=st.binary(max_size=200))
def test_rule_07_noise_is_never_an_answer(body: bytes) -> None:
    with pytest.raises(GarbledAnswerError):
        decode_answer(body, rail_key="op:1", amount_minor=1, currency="EUR")
    assert says_not_attempted(body) is False


@pytest.mark.parametrize(
    "changed",
    [
        {"rail_key": "op:2"},
        {"amount": 2},
        {"amount": "1"},
        {"currency": "USD"},
        {"outcome": "maybe"},
        {"reference": None},
        {"outcome": "declined"},
    ],
)
def test_answer_to_another_order_is_no_answer(changed: dict[str, object]) -> None:
    answer = {"rail_key": "op:1", "amount": 1, "currency": "EUR", "outcome": "approved", "reference": "r"}
    assert decode_answer(json.dumps(answer).encode(), rail_key="op:1", amount_minor=1, currency="EUR").reference == "r"
    with pytest.raises(GarbledAnswerError):
        decode_answer(json.dumps({**answer, **changed}).encode(), rail_key="op:1", amount_minor=1, currency="EUR")


def test_with_a_card_the_token_stays_home() -> None:
    request = RailRequest(
        rail="card_alpha",
        flow=Flow.AUTHORIZE,
        rail_key="op:1",
        amount_minor=1,
        currency="EUR",
        merchant_id="mer_a",
        mode="test",
        source="tok_vaulted",
    )
    assert json.loads(encode_order(request, None))["source"] == "tok_vaulted"
    card = CardDetails(number="4242424242424242", exp_month=1, exp_year=2030)
    order = json.loads(encode_order(request, card))
    assert order["card"]["number"] == "4242424242424242" and "source" not in order
