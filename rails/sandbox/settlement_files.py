"""The files of the sandbox: what a rail settles, and the statement of the bank it pays to. Written from the truth.

The format is docs/reconciliation.md's; this process shares no code with whoever reads it. A file is complete until
the moment it is asked for; what an earlier one had is in the next one again, word for word.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from rails.sandbox.notices import Dispute
from rails.sandbox.orders import Operation

COLUMNS = "kind,reference,order,gross,fee,net,currency,booked_at,batch,corrects"
BANK_COLUMNS = "kind,reference,amount,currency,booked_at,rail,batch,text"
_PLACES = {
    "JPY": 0,
    "KRW": 0,
    "ISK": 0,
    "CLP": 0,
    "VND": 0,
    "BHD": 3,
    "JOD": 3,
    "KWD": 3,
    "OMR": 3,
    "TND": 3,
    "USDC": 6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One line: amounts in minor units, towards the merchant's side positive."""

    kind: str
    reference: str
    order: str
    gross: int
    fee: int
    currency: str
    at: float

    @property
    def batch(self) -> str:
        """The minute, in UTC, whose lines are paid together."""
        return minute_of(self.at)


def minute_of(at: float) -> str:
    """Return the minute of an instant: `20261122-0915`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d-%H%M")


def lines_of(
    operations: Iterable[Operation],
    disputes: Iterable[Dispute],
    *,
    now: float,
    captured: Callable[[Operation], tuple[int, float]],
    fee: Callable[[int], int],
) -> list[Settled]:
    """Return what a rail did with money, oldest first. An authorization is one line, of all that was captured."""
    lines = []
    for one in operations:
        if one.outcome(now) != "approved":
            continue
        amount, at = captured(one) if one.kind == "authorize" else (-one.amount, one.decided_at)
        if one.kind in ("refund", "payout") or (one.kind == "authorize" and amount):
            kept = min(fee(amount), amount) if amount > 0 else 0
            kind = "capture" if one.kind == "authorize" else one.kind
            lines.append(_line(kind, one, amount, kept, at))
    lines += [
        Settled(
            kind="chargeback",
            reference=f"{one.reference}_chargeback",
            order=one.rail_key,
            gross=-one.amount,
            fee=0,
            currency=one.currency,
            at=one.due_at,
        )
        for one in disputes
        if one.kind == "chargeback" and one.due_at <= now
    ]
    return sorted(lines, key=lambda line: (line.at, line.reference))


def settlement_file(rail: str, lines: Iterable[Settled], now: float) -> str:
    """Return the rail's file in format `acquirer_csv`."""
    rows, sums = [COLUMNS], defaultdict[str, list[int]](lambda: [0, 0, 0])
    for line in lines:
        amounts = ",".join(_decimal(one, line.currency) for one in (line.gross, line.fee, line.gross - line.fee))
        batch = f"{rail}-{line.batch}"
        rows.append(f"{line.kind},{line.reference},{line.order},{amounts},{line.currency},{_stamp(line.at)},{batch},")
        for place, amount in enumerate((1, line.gross, line.fee)):
            sums[line.currency][place] += amount
    for currency in sorted(sums) or ["EUR"]:
        count, gross, fee = sums[currency]
        amounts = ",".join(_decimal(one, currency) for one in (gross, fee, gross - fee))
        rows.append(f"trailer,{count},,{amounts},{currency},{_stamp(now)},,")
    return "\n".join(rows) + "\n"


def bank_statement(rail: str, lines: Iterable[Settled], now: float) -> str:
    """Return the bank's statement in format `bank_csv`: one lump sum for each minute that is over, and currency."""
    lumps, totals = defaultdict[tuple[str, str], int](int), defaultdict[str, list[int]](lambda: [0, 0])
    for line in lines:
        if line.batch < minute_of(now):
            lumps[line.batch, line.currency] += line.gross - line.fee
    rows = [BANK_COLUMNS]
    for (minute, currency), amount in sorted(lumps.items()):
        batch, reference, text = f"{rail}-{minute}", f"{rail}-{minute}-{currency}", f"settlement of {rail}"
        rows.append(
            f"entry,{reference},{_decimal(amount, currency)},{currency},{_end_of(minute)},{rail},{batch},{text}"
        )
        totals[currency][0] += 1
        totals[currency][1] += amount
    for currency in sorted(totals) or ["EUR"]:
        count, amount = totals[currency]
        rows.append(f"trailer,{count},{_decimal(amount, currency)},{currency},{_stamp(now)},,,")
    return "\n".join(rows) + "\n"


def _line(kind: str, operation: Operation, gross: int, fee: int, at: float) -> Settled:
    return Settled(
        kind=kind,
        reference=operation.reference,
        order=operation.rail_key,
        gross=gross,
        fee=fee,
        currency=operation.currency,
        at=at,
    )


def _decimal(amount: int, currency: str) -> str:
    places = _PLACES.get(currency, 2)
    sign, digits = "-" if amount < 0 else "", str(abs(amount)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def _end_of(minute: str) -> str:
    return f"{minute[:4]}-{minute[4:6]}-{minute[6:8]}T{minute[9:11]}:{minute[11:]}:59Z"


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
