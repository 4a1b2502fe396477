"""Format `acquirer_csv`: what a rail settles, a line each, closed by a trailer for each currency. Pure.

    kind,reference,order,gross,fee,net,currency,booked_at,batch,corrects
    capture,g-0001,ch_…:1,84.20,0.62,83.58,EUR,2026-11-22T10:15:00+01:00,g-20261122,
    trailer,1,,84.20,0.62,83.58,EUR,2026-11-22T23:00:00+01:00,,

Amounts are signed as we see them. Of gross, fee and net one may be left out: 84.20 less 0.62 is 83.58.
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

COLUMNS = ("kind", "reference", "order", "gross", "fee", "net", "currency", "booked_at", "batch", "corrects")
_KINDS = {kind.value: kind for kind in LineKind if kind is not LineKind.ENTRY}


def read_acquirer_csv(content: bytes, rail: str) -> Statement:
    """Return the file, whole.

    Raises:
        FileRefusedError: it is truncated, or a line cannot be read. Not retryable.
    """
    lines: list[StatementLine] = []
    found: dict[str, Totals] = {}
    stated: dict[str, Totals] = {}
    covers_until = None
    for number, row in read_rows(content, COLUMNS):
        currency = currency_of(row["currency"], number)
        if row["kind"] == TRAILER:
            if currency in stated:
                raise FileRefusedError("trailer_invalid", f"There are two trailers for {currency}.", number)
            stated[currency] = _trailer(row, currency, number)
            if row["booked_at"]:
                until = instant_of(row["booked_at"], number)
                covers_until = until if covers_until is None else min(covers_until, until)
            continue
        if stated:
            raise FileRefusedError("trailer_invalid", "Lines come before the trailers.", number)
        if len(lines) == LINES_MAX:
            raise FileRefusedError("file_too_long", f"A file has at most {LINES_MAX} lines.", number)
        line = _line(row, rail, currency, len(lines) + 1, number)
        lines.append(line)
        found[currency] = found.get(currency, Totals(currency=currency, lines=0)).with_line(line)
    return Statement(lines=tuple(lines), totals=check_totals(found, stated), covers_until=covers_until)


def _trailer(row: Row, currency: str, number: int) -> Totals:
    gross, fee, net = (amount_of(row[name], currency, number, name=name) for name in ("gross", "fee", "net"))
    return Totals(
        currency=currency,
        lines=count_of(row["reference"], number),
        gross_minor=gross,
        fee_minor=fee,
        net_minor=net,
    )


def _line(row: Row, rail: str, currency: str, position: int, number: int) -> StatementLine:
    kind = _KINDS.get(row["kind"])
    if kind is None:
        raise FileRefusedError("line_invalid", f"`kind` is one of {', '.join(_KINDS)}, {TRAILER}.", number)
    gross, fee, net = _amounts(row, currency, number)
    return StatementLine(
        number=position,
        kind=kind,
        reference=name_of(row["reference"], number, name="reference"),
        order=name_of(row["order"], number, name="order", required=False),
        gross_minor=gross,
        fee_minor=fee,
        net_minor=net,
        currency=currency,
        booked_at=instant_of(row["booked_at"], number),
        rail=rail,
        batch=name_of(row["batch"], number, name="batch", required=False),
        corrects=name_of(row["corrects"], number, name="corrects", required=False),
    )


def _amounts(row: Row, currency: str, number: int) -> tuple[int, int, int]:
    """Return gross, fee and net; the one that is left out follows from the two others."""
    names = ("gross", "fee", "net")
    given = {name: amount_of(row[name], currency, number, name=name) for name in names if row[name]}
    if len(given) < 2:
        raise FileRefusedError("amount_invalid", "A line states two of gross, fee and net, or all three.", number)
    gross = given["gross"] if "gross" in given else given["net"] + given["fee"]
    fee = given["fee"] if "fee" in given else gross - given["net"]
    return gross, fee, given.get("net", gross - fee)
