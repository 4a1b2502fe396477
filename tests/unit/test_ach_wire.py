"""NACHA on the wire: the bytes of a file, and what comes back: acknowledgements, returns, changes."""

from dataclasses import replace
from datetime import date, datetime

import pytest
from achkit import parse, validate

from rails.adapters.ach.adapter import READINGS
from rails.adapters.ach.wire import (
    Entry,
    Originator,
    Slot,
    UnfitEntryError,
    identification_of,
    read_acknowledgement,
    read_changes,
    read_returns,
    render_file,
)
from rails.iso20022.documents import InvalidDocumentError
from rails.iso20022.reports import Word

COMPANY = Originator(
    name="Ledgerline Inc",
    company_id="1234567890",
    routing="999999992",
    bank_name="First Bank",
    bank_routing="999999992",
)
SLOT = Slot(trace="999999990000042", created_at=datetime(2026, 3, 5, 9, 41), modifier="7")
ENTRY = Entry(
    identification=identification_of("po_1:1"),
    name="Ada Smith",
    routing="091000019",
    account="4711123456",
    account_type="savings",
    entry_class="CCD",
    amount_minor=8420,
    effective_date=date(2026, 3, 6),
)


def test_file_is_whole_blocks_with_the_trace_number_of_the_order() -> None:
    body = render_file(COMPANY, SLOT, ENTRY)
    assert body == render_file(COMPANY, SLOT, ENTRY)
    lines = body.decode("ascii").splitlines()
    assert {len(line) for line in lines} == {94} and len(lines) % 10 == 0
    file = parse(body.decode())
    assert (file["creation_date"], file["creation_time"], file["file_id_modifier"]) == ("260305", "0941", "7")
    (batch,) = file["batches"]
    assert (batch["sec"], batch["effective_date"], batch["service_class"]) == ("CCD", "260306", 220)
    (entry,) = batch["entries"]
    assert (entry["trace_number"], entry["txn_code"], entry["amount_cents"]) == ("999999990000042", 32, 8420)
    assert (entry["id_number"], len(entry["id_number"])) == (ENTRY.identification, 15)
    assert validate(body.decode())["ok"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"account": "1" * 18},
        {"account": ""},
        {"account": "12 34"},
        {"routing": "091000018"},
        {"routing": "09100001"},
        {"amount_minor": 10**10},
        {"amount_minor": 0},
        {"account_type": "loan"},
    ],
)
def test_what_does_not_fit_is_refused_and_never_cut_off(wrong: dict[str, object]) -> None:
    with pytest.raises(UnfitEntryError):
        render_file(COMPANY, SLOT, replace(ENTRY, **wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"routing": "091000018"}, {"company_id": "12"}, {"company_id": "12345678901"}])
def test_originator_is_checked_when_it_is_configured(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="digits"):
        replace(COMPANY, **wrong)  # type: ignore[arg-type]


def test_acknowledgement_tells_of_the_file_and_its_entries() -> None:
    body = (
        b"ACKNOWLEDGEMENT A1\nFILE 999999992-2603050941A\nSTATUS PART\n"
        b"ENTRY 999999990000042 ABC 84.20 ACCEPTED 2026-03-06\n"
        b"ENTRY 999999990000043 DEF 1250.00 REJECTED R02 the account is closed\n"
    )
    accepted, rejected = read_acknowledgement(body)
    assert (accepted.end_to_end_id, accepted.status, accepted.amount_minor) == ("ABC", "ACCEPTED", 8420)
    assert (rejected.reason, rejected.amount_minor, rejected.message_id) == ("R02", 125000, "999999992-2603050941A")
    (whole,) = read_acknowledgement(b"FILE F1\nSTATUS RJCT FF01 the file is unreadable\n")
    assert (whole.end_to_end_id, whole.message_id, whole.reason) == (None, "F1", "FF01")
    with pytest.raises(InvalidDocumentError):
        list(read_acknowledgement(b"ENTRY 1 2\n"))


def came_back(addenda: str, code: str = "32") -> bytes:
    """The file above as the receiver's bank sends its entry back, with an addenda record."""
    lines = render_file(COMPANY, SLOT, ENTRY).decode().splitlines()
    entry = lines[2][:1] + code + lines[2][3:78] + "1" + lines[2][79:]
    lines[2:3] = [entry, ("7" + addenda).ljust(79) + "999999990000042"]
    control = {index: line for index, line in enumerate(lines) if line[0] in "89" and set(line) != {"9"}}
    for index, line in control.items():
        at = 4 if line[0] == "8" else 13
        width = 6 if line[0] == "8" else 8
        lines[index] = line[:at] + "2".rjust(width, "0") + line[at + width :]
    return ("\n".join(lines[:-1]) + "\n").encode()


def test_return_has_its_code_and_the_orders_identification() -> None:
    (returned,) = read_returns(came_back("99R03999999990000042      09100001", "31"))
    assert (returned.word, returned.reason, returned.amount_minor) == (Word.RETURNED, "R03", 8420)
    assert returned.end_to_end_id == ENTRY.identification
    assert READINGS["R03"].reading == "data_fix" and READINGS["R29"].reading == "hard"


def test_change_of_details_is_noted_and_returns_nothing() -> None:
    body = came_back("98C01999999990000042      091000014711123457")
    assert list(read_returns(body)) == []
    ((identification, code, corrected),) = read_changes(body)
    assert (identification, code, corrected) == (ENTRY.identification, "C01", "4711123457")


@pytest.mark.parametrize("broken", [b"", b"<xml/>", b"\xff" * 94])
def test_what_is_no_file_says_nothing(broken: bytes) -> None:
    with pytest.raises(InvalidDocumentError):
        list(read_returns(broken))


def test_return_file_whose_amounts_are_wrong_is_not_believed() -> None:
    body = came_back("99R03999999990000042      09100001", "31").replace(b"0000008420", b"0000008421", 1)
    with pytest.raises(InvalidDocumentError):
        list(read_returns(body))
