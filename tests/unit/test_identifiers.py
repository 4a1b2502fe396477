"""Ids: prefixed, sorting by time, derived where a workflow needs them."""

import time

from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import (
    ACCOUNT_ID,
    ALPHABET,
    Mode,
    account_code,
    capture_operation,
    capture_tag,
    default_account_id,
    encode_base32,
    new_identifier,
    public_account_id,
    rail_key,
    workflow_id,
)


def test_ids_are_prefixed_unique_and_sort_by_time() -> None:
    first = new_identifier("ch")
    time.sleep(0.002)
    later = [new_identifier("ch") for _ in range(1000)]
    assert len({first, *later}) == 1001
    assert all(first < one and one.startswith("ch_") and len(one) == 29 for one in later)


@given(st.integers(0, 32**26 - 1), st.integers(0, 32**26 - 1))
def test_base32_keeps_the_order_of_numbers(one: int, other: int) -> None:
    assert (one < other) == (encode_base32(one, 26) < encode_base32(other, 26))


@given(st.integers(1, 30), st.data())
def test_base32_says_the_number_in_as_many_digits_as_asked(length: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 32**length - 1))
    said = encode_base32(number, length)
    assert len(said) == length and sum(ALPHABET.index(one) * 32**n for n, one in enumerate(reversed(said))) == number


def test_the_names_that_idempotency_rests_on() -> None:
    assert workflow_id("mer_a", Mode.TEST, "ord_7741") == "mer_a/test/ord_7741"
    assert rail_key("ch_1", 2) == "ch_1:2"
    tag = capture_tag("ord_7741/capture")
    assert rail_key(capture_operation("ch_1", tag), 1) == f"ch_1.capture-{tag}:1"
    assert tag != capture_tag("ord_7741/capture2")


def test_account_codes_keep_merchants_and_modes_apart() -> None:
    codes = {account_code(merchant, mode, "acct_x") for merchant in ("mer_a", "mer_b") for mode in Mode}
    assert len(codes) == 4
    assert {public_account_id(code) for code in codes} == {"acct_x"}
    assert ACCOUNT_ID.match(default_account_id("mer_sandbox", "EUR"))
