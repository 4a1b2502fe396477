"""Files as rails and banks write them, whole and with their trailers; and broken ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from domain.money import exponent
from reconciliation import acquirer_csv, bank_csv

BOOKED_AT = "2026-11-22T10:15:00+01:00"


def decimal(amount_minor: int, currency: str) -> str:
    """Exact decimal text: -8420 EUR is `-84.20`."""
    places = exponent(currency)
    sign, digits = ("-" if amount_minor < 0 else ""), str(abs(amount_minor)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


@dataclass(frozen=True, kw_only=True)
class Said:
    """One line of a rail's file; `net` None: gross less fee."""

    kind: str = "capture"
    reference: str = "g-1"
    order: str = ""
    gross: int = 8420
    fee: int = 62
    net: int | None = None
    currency: str = "EUR"
    booked_at: str = BOOKED_AT
    batch: str = ""
    corrects: str = ""

    def but(self, **changes: object) -> "Said":
        """The same line, said otherwise."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def net_minor(self) -> int:
        """What is left after the fee, or what the line claims."""
        return self.gross - self.fee if self.net is None else self.net

    def row(self) -> str:
        """The line as text."""
        amounts = [decimal(one, self.currency) for one in (self.gross, self.fee, self.net_minor())]
        return ",".join(
            (self.kind, self.reference, self.order, *amounts, self.currency, self.booked_at, self.batch, self.corrects)
        )


def acquirer_file(lines: Sequence[Said], *, until: str = "", currencies: Iterable[str] = ()) -> bytes:
    """A whole file of a rail."""
    rows = [",".join(acquirer_csv.COLUMNS), *(line.row() for line in lines)]
    for currency in sorted({line.currency for line in lines} | set(currencies)) or ["EUR"]:
        of = [line for line in lines if line.currency == currency]
        sums = (sum(line.gross for line in of), sum(line.fee for line in of), sum(line.net_minor() for line in of))
        amounts = ",".join(decimal(one, currency) for one in sums)
        rows.append(f"trailer,{len(of)},,{amounts},{currency},{until},,")
    return "\n".join(rows).encode() + b"\n"


def bank_file(entries: Sequence[tuple[str, int, str, str]]) -> bytes:
    """A whole statement of EUR entries: (reference, amount, rail, batch)."""
    rows = [",".join(bank_csv.COLUMNS)]
    rows += [
        f"entry,{ref},{decimal(amount, 'EUR')},EUR,{BOOKED_AT},{rail},{batch},x" for ref, amount, rail, batch in entries
    ]
    rows.append(f"trailer,{len(entries)},{decimal(sum(one[1] for one in entries), 'EUR')},EUR,,,,")
    return "\n".join(rows).encode() + b"\n"
