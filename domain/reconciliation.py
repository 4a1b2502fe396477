"""What files of rails and banks say, line by line, and what becomes of each line.

Amounts are minor units of the line's currency, signed as we see them: positive is money towards us.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.canonical import canonical_json
from domain.identifiers import Mode, encode_base32
from domain.timestamps import rfc3339

LINES_MAX = 50_000
"""The most lines taken in one file."""


class FileFormat(StrEnum):
    """How a file is written. ACQUIRER_CSV: what a rail settles. BANK_CSV: entries of our account at a bank."""

    ACQUIRER_CSV = "acquirer_csv"
    BANK_CSV = "bank_csv"


class FileStatus(StrEnum):
    """PROCESSING: not every line has its outcome. MATCHED: every one has. RECONCILED: what lacks was looked for."""

    PROCESSING = "processing"
    MATCHED = "matched"
    RECONCILED = "reconciled"


class LineKind(StrEnum):
    """What a line is about. ADJUSTMENT: whatever the rail explains in no other way. ENTRY: of a bank account."""

    CAPTURE = "capture"
    REFUND = "refund"
    CHARGEBACK = "chargeback"
    PAYOUT = "payout"
    FEE = "fee"
    ADJUSTMENT = "adjustment"
    ENTRY = "entry"


class LineStatus(StrEnum):
    """What became of a line: the books agree, it had come before word for word, or a person must look."""

    MATCHED = "matched"
    DUPLICATE = "duplicate"
    EXCEPTION = "exception"


class DriftKind(StrEnum):
    """Kinds of exceptions that files open."""

    LINE_UNKNOWN = "line_unknown"
    LINE_DIFFERS = "line_differs"
    LINE_CONTRADICTS = "line_contradicts"
    LINE_CORRECTED = "line_corrected"
    LINE_MISSING = "line_missing"
    ADJUSTMENT = "adjustment"
    REMITTANCE_DIFFERS = "remittance_differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One line of a file. `gross_minor` less `fee_minor` should be `net_minor`; whether it is, matching looks.

    `reference` names the line at whoever wrote the file, for ever; `order` our order; `batch` what is paid together
    (of a bank's entry: the batches it pays, joined by `+`); `corrects` an earlier line's reference. `rail`: who
    settles, empty where a bank's entry names nobody.
    """

    number: int
    kind: LineKind
    reference: str
    order: str
    gross_minor: int
    fee_minor: int
    net_minor: int
    currency: str
    booked_at: datetime
    rail: str
    batch: str = ""
    corrects: str = ""

    def __post_init__(self) -> None:
        assert self.reference and self.number > 0
        assert self.booked_at.tzinfo is not None, "a booking names its zone"

    @property
    def content_hash(self) -> str:
        """SHA-256 of everything the line says, wherever in whichever file it stands."""
        return hashlib.sha256(canonical_json(self.document())).hexdigest()

    def document(self) -> dict[str, Any]:
        """Return what the line says as the API shows it."""
        return {
            "kind": self.kind.value,
            "reference": self.reference,
            "order": self.order or None,
            "gross": self.gross_minor,
            "fee": self.fee_minor,
            "net": self.net_minor,
            "currency": self.currency,
            "booked_at": rfc3339(self.booked_at),
            "rail": self.rail or None,
            "batch": self.batch or None,
            "corrects": self.corrects or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the trailer of a file says of one currency, and the lines add up to."""

    currency: str
    lines: int
    gross_minor: int = 0
    fee_minor: int = 0
    net_minor: int = 0

    def with_line(self, line: StatementLine) -> "Totals":
        """Return the totals with one line more."""
        return replace(
            self,
            lines=self.lines + 1,
            gross_minor=self.gross_minor + line.gross_minor,
            fee_minor=self.fee_minor + line.fee_minor,
            net_minor=self.net_minor + line.net_minor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A whole file, read. `covers_until`: until when it claims to be complete, None where it doesn't say."""

    lines: tuple[StatementLine, ...]
    totals: tuple[Totals, ...]
    covers_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOffer:
    """A file as it was handed in. `party`: the rail that settles, or the bank that keeps the account.

    `merchant_id`: whose orders it may be about; of an administrator's file, everybody's.
    """

    content: bytes
    format: FileFormat
    party: str
    merchant_id: str
    mode: Mode
    actor: str

    @property
    def content_hash(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def file_id(self) -> str:
        """The file's id: the same for the same bytes in the same format from the same party, for each merchant."""
        return derived_id("file", self.merchant_id, self.mode.value, self.party, self.format.value, self.content_hash)


class FileRefusedError(Exception):
    """The file is not whole or not readable; nothing of it was taken. Not retryable as it stands.

    `line` counts the lines of the text from 1, None for the file as a whole.
    """

    def __init__(self, code: str, detail: str, line: int | None = None) -> None:
        super().__init__(f"{detail} (line {line})" if line is not None else detail)
        self.code = code
        self.detail = detail if line is None else f"Line {line}: {detail}"
        self.line = line


def derived_id(prefix: str, *names: str) -> str:
    """Return the one id that follows from these names."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return f"{prefix}_{encode_base32(int.from_bytes(digest[:16], 'big'), 26)}"


def line_id(file_id: str, number: int) -> str:
    """Return the id of a line of a file."""
    return derived_id("line", file_id, str(number))


def line_key(file_format: FileFormat, party: str, reference: str) -> str:
    """Return the key that the first line with this reference claims for ever; merchants cannot use it."""
    return f"line:{file_format}:{party}:{reference}"
