"""NACHA on the wire: a file with one credit entry out; acknowledgements, return files and changes back.

Decides how an entry is written and which line of an answer is about it. Wire types stand apart from the
domain's. achkit writes and reads the records; what it would cut off or number by itself is checked or set here.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from achkit import AchFile, parse, validate
from achkit.fields import AchError
from achkit.validate import is_valid_routing

from domain.identifiers import encode_base32
from rails.iso20022.documents import InvalidDocumentError
from rails.iso20022.reports import OrderReport, Word

ACKNOWLEDGEMENT, RETURN_FILE = "nacha.ack", "nacha.return"
IDENTIFICATION_CHARACTERS = 15
ACCOUNT_CHARACTERS_MAX = 17
AMOUNT_MINOR_MAX = 9_999_999_999
"""99,999,999.99 USD: ten digits of an entry. Source: Nacha Operating Rules, appendix three, entry detail record."""
_TRACE = slice(79, 94)
_AMOUNT_ERRORS = frozenset({"BAD_BATCH_CREDIT", "BAD_BATCH_DEBIT", "BAD_FILE_CREDIT", "BAD_FILE_DEBIT"})
"""What achkit finds wrong with every return: it does not count the transaction codes of returns (21, 26, …)."""


class UnfitEntryError(ValueError):
    """The order has no form as an ACH entry: nothing is sent. Not retryable as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Originator:
    """Who pays: our company at our bank (the ODFI). `routing` has nine digits, `company_id` at most ten."""

    name: str
    company_id: str
    routing: str
    bank_name: str
    bank_routing: str

    def __post_init__(self) -> None:
        for number in (self.routing, self.bank_routing):
            if not is_valid_routing(number) or not number.isdigit():
                raise ValueError(f"{number} is no routing number: nine digits with a check digit")
        if not (self.company_id.isdigit() and len(self.company_id) == 10):
            raise ValueError("the company identification has ten digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where an order stands in the bank's numbering: its trace number, and its file by minute and modifier."""

    trace: str
    created_at: datetime
    modifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One credit entry. `entry_class` is PPD for people and CCD for companies."""

    identification: str
    name: str
    routing: str
    account: str
    account_type: str
    entry_class: str
    amount_minor: int
    effective_date: date


def identification_of(rail_key: str) -> str:
    """Return the individual identification number of an order: 75 bits of its key's hash, 15 characters."""
    digest = int.from_bytes(hashlib.sha256(f"ach {rail_key}".encode()).digest(), "big")
    return encode_base32(digest >> (256 - 5 * IDENTIFICATION_CHARACTERS), IDENTIFICATION_CHARACTERS).upper()


def file_id_of(originator: Originator, slot: Slot) -> str:
    """Return what banks tell files apart by: immediate origin, creation date and time, modifier."""
    return f"{originator.routing}-{slot.created_at:%y%m%d%H%M}{slot.modifier}"


def render_file(originator: Originator, slot: Slot, entry: Entry) -> bytes:
    """Return the file, byte for byte the same for the same arguments.

    Raises:
        UnfitEntryError: something does not fit its field. Not retryable.
    """
    _check(entry)
    try:
        file = AchFile.create(
            origin_dfi=originator.routing,
            company_id=originator.company_id,
            destination_routing=originator.bank_routing,
            destination_name=originator.bank_name,
            origin_name=originator.name,
            file_id_modifier=slot.modifier,
            creation_date=slot.created_at,
        )
        batch = file.batch(sec=entry.entry_class, description="PAYOUT", effective_date=entry.effective_date.isoformat())
        batch.credit(
            name=entry.name,
            routing=entry.routing,
            account=entry.account,
            amount_cents=entry.amount_minor,
            account_type=entry.account_type,
            id_number=entry.identification,
        )
        lines = file.render().splitlines()
    except AchError as error:
        raise UnfitEntryError(str(error)) from error
    # achkit counts entries from one in every file; the trace number must not repeat among files.
    lines = [line[: _TRACE.start] + slot.trace if line[0] == "6" else line for line in lines]
    text = "\n".join(lines) + "\n"
    checked = validate(text)
    assert checked["ok"], checked["errors"]
    return text.encode("ascii")


def read_acknowledgement(body: bytes) -> Iterator[OrderReport]:
    """Yield what an acknowledgement says of the file and of its entries.

    Nacha has no form for it. This is mock-bank's: a fact a line, beginning with what it is about.

    Raises:
        InvalidDocumentError: a line cannot be read, so none is believed. Not retryable.
    """
    file_id = None
    try:
        for line in body.decode("ascii", "replace").splitlines():
            about, _, rest = line.partition(" ")
            words = rest.split()
            if about == "FILE":
                file_id = words[0]
            elif about == "STATUS" and words[0] == "RJCT" and len(words) > 1:
                yield OrderReport(
                    word=Word.STATUS, message_id=file_id, end_to_end_id=None, status="REJECTED", reason=words[1]
                )
            elif about == "ENTRY":
                _trace, identification, amount, status = words[:4]
                yield OrderReport(
                    word=Word.STATUS,
                    message_id=file_id,
                    end_to_end_id=identification,
                    status=status,
                    reason=words[4] if status == "REJECTED" else None,
                    amount_minor=int(Decimal(amount).scaleb(2)),
                    currency="USD",
                )
    except (ValueError, IndexError, InvalidOperation) as error:
        raise InvalidDocumentError(f"an acknowledgement that cannot be read: {error}") from error


def read_returns(body: bytes) -> Iterator[OrderReport]:
    """Yield what came back, with its R-code. Changes of details (C-codes) return no money: see `read_changes`.

    Raises:
        InvalidDocumentError: not a NACHA file, or its totals are wrong. Not retryable.
    """
    for entry, addenda in _addenda(body, "99"):
        yield OrderReport(
            word=Word.RETURNED,
            message_id=None,
            end_to_end_id=entry["id_number"],
            reason=addenda[:3],
            amount_minor=entry["amount_cents"],
            currency="USD",
        )


def read_changes(body: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield notifications of change: the entry's identification, the C-code and the corrected details.

    Raises:
        InvalidDocumentError: not a NACHA file, or its totals are wrong. Not retryable.
    """
    for entry, addenda in _addenda(body, "98"):
        # Columns of the addenda record from its fourth: code 3, original trace 15, reserved 6, bank 8, corrected 29.
        yield entry["id_number"], addenda[:3], addenda[32:61].strip()


def _addenda(body: bytes, kind: str) -> Iterator[tuple[dict, str]]:  # type: ignore[type-arg]
    try:
        text = body.decode("ascii")
        file, checked = parse(text), validate(text)
    except (AchError, UnicodeDecodeError, IndexError) as error:
        raise InvalidDocumentError(f"not a NACHA file: {error}") from error
    errors = [error["message"] for error in checked["errors"] if error["code"] not in _AMOUNT_ERRORS]
    if errors or not all(_adds_up(batch) for batch in file["batches"]):
        raise InvalidDocumentError(f"a NACHA file whose totals are wrong: {(errors or ['amounts'])[0]}")
    for batch in file["batches"]:
        for entry in batch["entries"]:
            for addenda in entry["addenda"]:
                if addenda["type"] == kind:
                    yield entry, addenda["info"]


def _adds_up(batch: dict) -> bool:  # type: ignore[type-arg]
    control = batch["control"]
    amounts = sum(entry["amount_cents"] for entry in batch["entries"])
    return control is not None and control["total_debit"] + control["total_credit"] == amounts


def _check(entry: Entry) -> None:
    """achkit cuts off what is too long: an account number must never be."""
    if not 0 < entry.amount_minor <= AMOUNT_MINOR_MAX:
        raise UnfitEntryError("an entry holds at most 99,999,999.99")
    if not 0 < len(entry.account) <= ACCOUNT_CHARACTERS_MAX or not entry.account.isalnum():
        raise UnfitEntryError("an account number has 1 to 17 letters and digits")
    if not is_valid_routing(entry.routing) or not (entry.routing.isdigit() and entry.routing.isascii()):
        raise UnfitEntryError("a routing number has nine digits with a check digit")
