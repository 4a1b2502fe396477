"""Files read whole or not at all: exact amounts, zones, trailers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.reconciliation import FileFormat, FileRefusedError, LineKind
from reconciliation.formats import read_statement
from tests.reconciliation.files import Said, acquirer_file, bank_file, decimal

ACQUIRER, BANK = FileFormat.ACQUIRER_CSV, FileFormat.BANK_CSV
THREE = [
    Said(reference="g-1", order="ch_1:1"),
    Said(reference="g-2", kind="refund", order="re_1:1", gross=-500, fee=0),
    Said(reference="g-3", order="ch_2:1", gross=990, fee=1, currency="JPY"),
]


def refused(content: bytes, code: str, form: FileFormat = ACQUIRER) -> str:
    with pytest.raises(FileRefusedError) as error:
        read_statement(content, form, "card_gamma")
    assert error.value.code == code, error.value
    return error.value.detail


def test_a_file_is_read_in_minor_units_of_each_currency() -> None:
    statement = read_statement(acquirer_file(THREE, until="2026-11-22T23:00:00+01:00"), ACQUIRER, "card_gamma")
    assert [(one.kind, one.gross_minor, one.fee_minor, one.net_minor) for one in statement.lines] == [
        (LineKind.CAPTURE, 8420, 62, 8358),
        (LineKind.REFUND, -500, 0, -500),
        (LineKind.CAPTURE, 990, 1, 989),
    ]
    assert [(one.currency, one.lines, one.net_minor) for one in statement.totals] == [("EUR", 2, 7858), ("JPY", 1, 989)]
    assert statement.lines[0].booked_at.isoformat() == "2026-11-22T09:15:00+00:00"
    assert statement.covers_until is not None and statement.covers_until.hour == 22


def test_rule_30_a_truncated_file_is_refused_wherever_it_ends() -> None:
    """Cut anywhere, down to the trailer's last digit, it is not taken for a whole one."""
    whole = acquirer_file(THREE)
    assert len(read_statement(whole, ACQUIRER, "card_gamma").lines) == 3
    for end in range(len(whole) - 4):  # The last fields of a trailer are empty.
        with pytest.raises(FileRefusedError):
            read_statement(whole[:end], ACQUIRER, "card_gamma")
    statement = bank_file([("b-1", 100, "card_gamma", "x"), ("b-2", -5, "", "")])
    for end in range(len(statement) - 5):
        with pytest.raises(FileRefusedError):
            read_statement(statement[:end], BANK, "bank_main")


def test_rule_30_a_file_whose_trailer_does_not_add_up_is_refused() -> None:
    lines = acquirer_file(THREE).split(b"\n")
    assert "states 2 lines" in refused(b"\n".join(lines[:1] + lines[2:]), "file_truncated")
    twice = b"\n".join([*lines[:2], lines[1], *lines[2:]])
    refused(twice, "file_truncated")
    refused(acquirer_file(THREE).replace(b"84.20,0.62,83.58", b"84.21,0.62,83.59", 1), "file_truncated")
    refused(b"\n".join([*lines[:-1], lines[1], b""]), "trailer_invalid")
    refused(b"", "file_header_invalid")
    empty = read_statement(acquirer_file([]), ACQUIRER, "card_gamma")
    assert empty.lines == () and empty.totals[0].lines == 0


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"84.20", b"84.205", "amount_invalid"),
        (b"84.20", b"8.4e1", "amount_invalid"),
        (b"84.20", b"84,20", "line_invalid"),
        (b"84.20", b"NaN", "amount_invalid"),
        (b"84.20", "٨٤".encode(), "amount_invalid"),
        (b",990,", b",990.0,", "amount_invalid"),
        (b"84.20", b"99999999999999999.00", "amount_invalid"),
        (b",EUR,2026", b",EURO,2026", "unknown_currency"),
        (b"10:15:00+01:00", b"10:15:00", "zone_missing"),
        (b"2026-11-22T10", b"2026-11-31T10", "zone_missing"),
        (b"2026-11-22T10", b"9999-11-22T10", "timestamp_invalid"),
        (b"capture,", b"sale,", "line_invalid"),
        (b"g-1", b"", "line_invalid"),
        (b"g-1", b"g 1", "line_invalid"),
        (b"g-1", b"\xff", "file_unreadable"),
        (b"g-1", b"\x00", "file_unreadable"),
        (b"g-1", b'"', "line_invalid"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused(old: bytes, new: bytes, code: str) -> None:
    assert refused(acquirer_file(THREE).replace(old, new, 1), code)


def test_rule_30_gross_and_net_two_of_three_suffice() -> None:
    """84.20 less 0.62 is 83.58, whichever one the rail leaves out."""
    whole = acquirer_file([Said()])
    for one in (b"84.20,0.62,83.58", b",0.62,83.58", b"84.20,,83.58", b"84.20,0.62,"):
        (line,) = read_statement(whole.replace(b"84.20,0.62,83.58", one, 1), ACQUIRER, "card_gamma").lines
        assert (line.gross_minor, line.fee_minor, line.net_minor) == (8420, 62, 8358)
    refused(whole.replace(b"84.20,0.62,83.58", b"84.20,,", 1), "amount_invalid")


@given(amount=st.integers(-(10**12), 10**12), currency=st.sampled_from(["EUR", "JPY", "KWD", "USDC"]))
def test_amounts_survive_their_text(amount: int, currency: str) -> None:
    lines = [Said(gross=amount, fee=0, currency=currency)]
    assert read_statement(acquirer_file(lines), ACQUIRER, "x").lines[0].gross_minor == amount
    assert decimal(amount, currency).count(".") <= 1


def test_bytes_at_random_are_refused_with_a_reason() -> None:
    whole, chance = acquirer_file(THREE), random.Random(7)
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            read_statement(bytes(broken), ACQUIRER, "card_gamma")
        except FileRefusedError as error:
            assert error.code and error.detail


def test_the_same_line_hashes_the_same_wherever_it_stands() -> None:
    first = read_statement(acquirer_file(THREE), ACQUIRER, "card_gamma").lines
    again = read_statement(acquirer_file(THREE[::-1]), ACQUIRER, "card_gamma").lines
    assert {one.content_hash for one in first} == {one.content_hash for one in again}
    assert len({one.content_hash for one in first}) == 3
