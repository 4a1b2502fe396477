"""Files of comma-separated values: rows, exact amounts, instants with a zone, and the trailer that proves a file whole.

Decides what text is acceptable; what columns mean is decided by each format.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from domain.money import AMOUNT_MINOR_MAX, exponent, is_currency
from domain.reconciliation import LINES_MAX, FileRefusedError, Totals

TRAILER = "trailer"
FIELD_LENGTH_MAX = 200
_AMOUNT = re.compile(r"(-?)(\d{1,16})(?:\.(\d{1,6}))?", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_NAME = re.compile(r"[!-~]{1,100}", re.ASCII)

Row = Mapping[str, str]


def read_rows(content: bytes, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Yield each row under the header with the number of its line in the text.

    Raises:
        FileRefusedError: it is not UTF-8 text, lacks the header, or a row has other fields. Not retryable.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileRefusedError("file_unreadable", "The file is not UTF-8 text.") from None
    if "\x00" in text:
        raise FileRefusedError("file_unreadable", "The file holds NUL characters.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if header != list(columns):
            raise FileRefusedError("file_header_invalid", f"The first line is `{','.join(columns)}`.", 1)
        for fields in reader:
            if reader.line_num > LINES_MAX + 200:
                raise FileRefusedError("file_too_long", f"A file has at most {LINES_MAX} lines.")
            if len(fields) != len(columns):
                raise FileRefusedError("line_invalid", f"A line has {len(columns)} fields.", reader.line_num)
            if any(len(field) > FIELD_LENGTH_MAX for field in fields):
                detail = f"A field has at most {FIELD_LENGTH_MAX} characters."
                raise FileRefusedError("line_invalid", detail, reader.line_num)
            yield reader.line_num, dict(zip(columns, fields, strict=True))
    except csv.Error as error:
        raise FileRefusedError("line_invalid", f"It is not comma-separated: {error}.", reader.line_num) from None


def amount_of(text: str, currency: str, line: int, *, name: str) -> int:
    """Return exact decimal text in minor units: `84.20` EUR is 8420, `84` JPY is 84, `-0.5` KWD is -500.

    Raises:
        FileRefusedError: it is no number, or has more places than the currency. Not retryable.
    """
    found = _AMOUNT.fullmatch(text)
    places = exponent(currency)
    if found is None or len(found[3] or "") > places:
        raise FileRefusedError("amount_invalid", f"`{name}` is decimal text with at most {places} places.", line)
    amount = int(found[2] + (found[3] or "").ljust(places, "0"))
    if amount > AMOUNT_MINOR_MAX:
        raise FileRefusedError("amount_invalid", f"`{name}` is too large.", line)
    return -amount if found[1] else amount


def currency_of(text: str, line: int) -> str:
    """Return an upper-case currency code.

    Raises:
        FileRefusedError: there is no such currency here. Not retryable.
    """
    if not is_currency(text):
        raise FileRefusedError("unknown_currency", "`currency` is an upper-case ISO 4217 code or USDC.", line)
    return text


def instant_of(text: str, line: int, *, name: str = "booked_at") -> datetime:
    """Return an instant in UTC; its offset must be written, for a time without one is nobody's.

    Raises:
        FileRefusedError: it is no RFC 3339 date-time with an offset. Not retryable.
    """
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None or len(text) < 20:
            raise ValueError("no offset")
        if not 2000 <= instant.year < 2200:
            raise FileRefusedError("timestamp_invalid", f"`{name}` is in another century.", line)
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        detail = f"`{name}` is a date-time with its offset: 2026-11-22T10:15:00+01:00."
        raise FileRefusedError("zone_missing", detail, line) from None


def name_of(text: str, line: int, *, name: str, required: bool = True) -> str:
    """Return a reference: printable ASCII without blanks.

    Raises:
        FileRefusedError: it is something else, or missing. Not retryable.
    """
    if (not text and not required) or _NAME.fullmatch(text):
        return text
    raise FileRefusedError("line_invalid", f"`{name}` has 1 to 100 printable characters without blanks.", line)


def count_of(text: str, line: int) -> int:
    """Return the number of lines that a trailer states.

    Raises:
        FileRefusedError: it is no number. Not retryable.
    """
    if not _COUNT.fullmatch(text):
        raise FileRefusedError("trailer_invalid", "A trailer says how many lines its currency has.", line)
    return int(text)


def check_totals(found: Mapping[str, Totals], stated: Mapping[str, Totals]) -> tuple[Totals, ...]:
    """Return the totals of a file that is whole: each currency of its lines has its trailer, and they agree.

    Raises:
        FileRefusedError: lines are missing, or too many. Not retryable.
    """
    if not stated:
        raise FileRefusedError("file_truncated", "The file ends without its trailer: it is not whole.")
    unstated = sorted(set(found) - set(stated))
    if unstated:
        raise FileRefusedError("file_truncated", f"There is no trailer for {unstated[0]}: the file is not whole.")
    for currency, totals in stated.items():
        actual = found.get(currency, Totals(currency=currency, lines=0))
        if actual != totals:
            detail = (
                f"The trailer of {currency} states {totals.lines} lines and {totals.net_minor} net in minor units; "
                f"there are {actual.lines} with {actual.net_minor}."
            )
            raise FileRefusedError("file_truncated", detail)
    return tuple(stated[currency] for currency in sorted(stated))
