"""What banks report of orders: pain.002, pacs.002, camt.053, camt.054 and pacs.004 read into one wire type.

Decides which element says what. Whether a report can be believed of an order, and what several of them amount
to, is `standing.py`'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rails.iso20022.documents import Element, Schemas, amount_of, child, children, text

PAIN_002 = "pain.002.001.10"
PACS_002 = "pacs.002.001.10"
PACS_004 = "pacs.004.001.09"
CAMT_053 = "camt.053.001.08"
CAMT_054 = "camt.054.001.08"
REPORTS = frozenset({PAIN_002, PACS_002, PACS_004, CAMT_053, CAMT_054})


class Word(StrEnum):
    """What a report says. STATUS: a status code. BOOKED: money left the account. RETURNED: it came back."""

    STATUS = "status"
    BOOKED = "booked"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """What one message says of one order, or of a whole file where `end_to_end_id` is None.

    `amount_minor` and `currency` are None where the message has no amount. `account` is the IBAN or number
    a booking is on.
    """

    word: Word
    message_id: str | None
    end_to_end_id: str | None
    status: str | None = None
    reason: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    account: str | None = None


def read_reports(body: bytes, schemas: Schemas) -> tuple[OrderReport, ...]:
    """Return everything one message says of orders.

    Raises:
        InvalidDocumentError: the message says nothing that can be believed. Not retryable.
    """
    message, root = schemas.read(body, REPORTS)
    readers = {
        PAIN_002: _read_pain_002,
        PACS_002: _read_pacs_002,
        PACS_004: _read_pacs_004,
        CAMT_053: _read_bookings,
        CAMT_054: _read_bookings,
    }
    return tuple(readers[message](root))


def _read_pain_002(root: Element) -> Iterator[OrderReport]:
    report = child(root, "CstmrPmtStsRpt")
    group = child(report, "OrgnlGrpInfAndSts")
    batches = children(report, "OrgnlPmtInfAndSts")
    message_id = text(group, "OrgnlMsgId")
    for batch in batches:
        for transfer in children(batch, "TxInfAndSts"):
            yield _status(transfer, message_id, _reason(batch) or _reason(group))
    # Where orders have a status of their own, the file's is only their sum.
    if not children(report, "OrgnlPmtInfAndSts/TxInfAndSts"):
        yield from _whole_file(group, message_id, text(group, "GrpSts"))
        for batch in batches:
            yield from _whole_file(batch, message_id, text(batch, "PmtInfSts"))


def _read_pacs_002(root: Element) -> Iterator[OrderReport]:
    report = child(root, "FIToFIPmtStsRpt")
    groups = children(report, "OrgnlGrpInfAndSts")
    transfers = children(report, "TxInfAndSts")
    group = groups[0] if len(groups) == 1 else None
    for transfer in transfers:
        message_id = text(transfer, "OrgnlGrpInf/OrgnlMsgId")
        if group is not None:
            message_id = message_id or text(group, "OrgnlMsgId")
        yield _status(transfer, message_id, _reason(group) if group is not None else None)
    for group in () if transfers else groups:
        yield from _whole_file(group, text(group, "OrgnlMsgId"), text(group, "GrpSts"))


def _whole_file(element: Element, message_id: str | None, status: str | None) -> Iterator[OrderReport]:
    """A status above the orders speaks of each of them only when it refuses them all."""
    if status == "RJCT":
        yield OrderReport(
            word=Word.STATUS, message_id=message_id, end_to_end_id=None, status=status, reason=_reason(element)
        )


def _status(transfer: Element, message_id: str | None, reason_above: str | None) -> OrderReport:
    """A rejection without a reason of its own has the one above it: a DUPL must not be read as a refusal."""
    status = text(transfer, "TxSts")
    repeated = child(transfer, "OrgnlTxRef/IntrBkSttlmAmt")
    amount_minor, currency = amount_of(repeated) if repeated is not None else (None, None)
    return OrderReport(
        word=Word.STATUS,
        message_id=message_id,
        end_to_end_id=text(transfer, "OrgnlEndToEndId"),
        status=status,
        reason=_reason(transfer) or (reason_above if status == "RJCT" else None),
        amount_minor=amount_minor,
        currency=currency,
    )


def _read_pacs_004(root: Element) -> Iterator[OrderReport]:
    returned = child(root, "PmtRtr")
    group_id = text(returned, "OrgnlGrpInf/OrgnlMsgId")
    for transfer in children(returned, "TxInf"):
        amount_minor, currency = amount_of(child(transfer, "RtrdIntrBkSttlmAmt"))
        yield OrderReport(
            word=Word.RETURNED,
            message_id=text(transfer, "OrgnlGrpInf/OrgnlMsgId") or group_id,
            end_to_end_id=text(transfer, "OrgnlEndToEndId"),
            reason=_code(transfer, "RtrRsnInf/Rsn"),
            amount_minor=amount_minor,
            currency=currency,
        )


def _read_bookings(root: Element) -> Iterator[OrderReport]:
    """Booked debits are orders carried out; booked credits are returns only where they say so.

    Whoever pays us chooses the end-to-end id, so a credit that bears one of ours proves nothing by itself.
    """
    for account in children(root, "BkToCstmrDbtCdtNtfctn/Ntfctn") + children(root, "BkToCstmrStmt/Stmt"):
        number = text(account, "Acct/Id/IBAN") or text(account, "Acct/Id/Othr/Id")
        for entry in children(account, "Ntry"):
            if text(entry, "Sts/Cd") != "BOOK":
                continue
            for details in children(entry, "NtryDtls/TxDtls"):
                yield from _booking(entry, details, number)


def _booking(entry: Element, details: Element, account: str | None) -> Iterator[OrderReport]:
    credit = (text(details, "CdtDbtInd") or text(entry, "CdtDbtInd")) == "CRDT"
    reversed_entry = text(entry, "RvslInd") == "true"
    returned = child(details, "RtrInf") is not None or reversed_entry
    if credit != returned:
        return
    amount = child(details, "Amt")
    amount_minor, currency = amount_of(amount if amount is not None else child(entry, "Amt"))
    yield OrderReport(
        word=Word.RETURNED if credit else Word.BOOKED,
        message_id=text(details, "Refs/MsgId"),
        end_to_end_id=text(details, "Refs/EndToEndId"),
        reason=_code(details, "RtrInf/Rsn"),
        amount_minor=amount_minor,
        currency=currency,
        account=account,
    )


def _reason(element: Element) -> str | None:
    return _code(element, "StsRsnInf/Rsn")


def _code(element: Element, path: str) -> str | None:
    return text(element, f"{path}/Cd") or text(element, f"{path}/Prtry")
