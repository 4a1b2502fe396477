"""What makes a repeat of a key a repeat: pure rules (semantics rule 3)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.authentication import Merchant
from api.errors import Problem
from api.idempotency import ClaimedKey, KeyedRequest, check_same_request, first_difference
from api.rendering import ordered, outcome_status
from domain.canonical import fingerprint
from domain.identifiers import Mode

MERCHANT = Merchant(merchant_id="mer_1", mode=Mode.TEST, actor="api_key:key_1")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def asked(body: dict[str, Any], route: str = "/v1/charges") -> KeyedRequest:
    return KeyedRequest(
        merchant=MERCHANT,
        key="k",
        route=route,
        request=body,
        fingerprint=fingerprint("test", "mer_1", "POST", route, body),
    )


def claimed(body: dict[str, Any], route: str = "/v1/charges") -> ClaimedKey:
    request = asked(body, route)
    return ClaimedKey(
        fingerprint=request.fingerprint,
        route=route,
        request=body,
        object_kind="charge",
        object_id="ch_1",
        workflow_id="mer_1/test/k",
        document=None,
    )


@pytest.mark.parametrize(
    ("before", "now", "param"),
    [
        ({"amount": 1}, {"amount": 2}, "amount"),
        ({"amount": 1, "currency": "EUR"}, {"currency": "USD", "amount": 2}, "currency"),
        ({"capture": True}, {"capture": 1}, "capture"),
        ({"amount": 1}, {"amount": 1, "rail": "auto"}, "rail"),
        ({"amount": 1, "rail": "auto"}, {"amount": 1}, "rail"),
        ({"destination": {"iban": "a", "name": "x"}}, {"destination": {"iban": "b", "name": "x"}}, "destination.iban"),
        ({"metadata": {"a": "1"}}, {"metadata": {"a": "1", "b": "2"}}, "metadata.b"),
        ({"account": None}, {}, "account"),
    ],
)
def test_the_first_differing_field_is_named(before: dict[str, Any], now: dict[str, Any], param: str) -> None:
    assert first_difference(before, now) == param
    with pytest.raises(Problem) as refused:
        check_same_request(asked(now), claimed(before))
    assert (refused.value.status, refused.value.code, refused.value.param) == (422, "idempotency_key_reused", param)


def test_another_endpoint_is_another_request() -> None:
    with pytest.raises(Problem) as refused:
        check_same_request(asked({}, "/v1/charges/ch_1/void"), claimed({}, "/v1/charges/ch_1/capture"))
    assert refused.value.code == "idempotency_key_reused" and refused.value.param is None
    assert "/v1/charges/ch_1/capture" in refused.value.detail


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.randoms())
def test_the_order_of_fields_is_no_difference(body: dict[str, Any], random: object) -> None:
    shuffled = dict(sorted(body.items(), key=lambda _: random.random()))  # type: ignore[attr-defined]
    check_same_request(asked(shuffled), claimed(body))
    assert first_difference(body, shuffled) is None


@given(JSON, JSON)
def test_any_other_value_is_a_difference(before: object, now: object) -> None:
    one, other = {"value": before}, {"value": now}
    same = asked(one).fingerprint == asked(other).fingerprint
    assert same == (first_difference(one, other) is None)


@given(JSON)
def test_rendering_keeps_values_and_is_stable(value: object) -> None:
    assert ordered(value) == value
    assert repr(ordered(ordered(value))) == repr(ordered(value))


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"object": "charge", "status": "settled"}, 201),
        ({"object": "charge", "status": "requires_action"}, 201),
        ({"object": "charge", "status": "authorized"}, 201),
        ({"object": "charge", "status": "unknown"}, 202),
        ({"object": "charge", "status": "processing"}, 202),
        ({"object": "charge", "status": "declined", "decline_code": "do_not_honor"}, 402),
        ({"object": "charge", "status": "declined", "decline_code": "no_rail_available"}, 503),
        ({"object": "transfer", "status": "failed", "failure_code": "exceeds_available_balance"}, 422),
        ({"object": "refund", "status": "failed", "failure_code": "exceeds_refundable_amount"}, 422),
        ({"object": "refund", "status": "failed", "failure_code": "account_closed_at_bank"}, 201),
        ({"object": "refund", "status": "pending"}, 201),
        ({"object": "payout", "status": "failed", "failure_code": "beneficiary_unknown"}, 402),
        ({"object": "payout", "status": "failed", "failure_code": "no_rail_available"}, 503),
        ({"object": "payout", "status": "paid"}, 201),
        ({"object": "payout", "status": "returned"}, 201),
    ],
)
def test_status_by_outcome(document: dict[str, Any], status: int) -> None:
    assert outcome_status(document) == status
