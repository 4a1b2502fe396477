"""Format `bank_csv`: entries of our account at a bank, closed by a trailer for each currency. Pure.

    kind,reference,amount,currency,booked_at,rail,batch,text
    entry,b-17,83.58,EUR,2026-11-23T09:00:00+01:00,card_gamma,g-20261122,card_gamma settlement
    trailer,1,83.58,EUR,2026-11-23T18:00:00+01:00,,,

An entry pays one batch of a rail or several, joined by `+`. Credits are positive. `text` is the bank's own and
decides nothing.
"""

from domain.reconciliation import LINES_MAX, FileRefusedError, LineKind, Statement, StatementLine, Totals
from reconciliation.csv_rows import (
    TRAILER,
    Row,
    amount_of,
    check_totals,
    count_of,
    currency_of,
    instant_of,
    name_of,
    read_rows,
)

COLUMNS = ("kind", "reference", "amount", "currency", "booked_at", "rail", "batch", "text")


def read_bank_csv(content: bytes) -> Statement:
    """Return the file, whole.

    Raises:
        FileRefusedError: it is truncated, or a line cannot be read. Not retryable.
    """
    lines: list[StatementLine] = []
    found: dict[str, Totals] = {}
    stated: dict[str, Totals] = {}
    for number, row in read_rows(content, COLUMNS):
        currency = currency_of(row["currency"], number)
        amount = amount_of(row["amount"], currency, number, name="amount")
        if row["kind"] == TRAILER:
            if currency in stated:
                raise FileRefusedError("trailer_invalid", f"There are two trailers for {currency}.", number)
            stated[currency] = Totals(
                currency=currency,
                lines=count_of(row["reference"], number),
                gross_minor=amount,
                net_minor=amount,
            )
            continue
        if stated or row["kind"] != LineKind.ENTRY or len(lines) == LINES_MAX:
            detail = f"At most {LINES_MAX} lines of kind `entry` come, then the trailers."
            raise FileRefusedError("line_invalid", detail, number)
        line = _line(row, currency, amount, len(lines) + 1, number)
        lines.append(line)
        found[currency] = found.get(currency, Totals(currency=currency, lines=0)).with_line(line)
    return Statement(lines=tuple(lines), totals=check_totals(found, stated))


def _line(row: Row, currency: str, amount: int, position: int, number: int) -> StatementLine:
    return StatementLine(
        number=position,
        kind=LineKind.ENTRY,
        reference=name_of(row["reference"], number, name="reference"),
        order="",
        gross_minor=amount,
        fee_minor=0,
        net_minor=amount,
        currency=currency,
        booked_at=instant_of(row["booked_at"], number),
        rail=name_of(row["rail"], number, name="rail", required=False),
        batch=name_of(row["batch"], number, name="batch", required=False),
    )
