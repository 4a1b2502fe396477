"""Orders as ISO 20022 messages: pain.001 to one's own bank, pacs.008 and pacs.028 to a clearing.

Decides how an order is written. Wire types stand apart from the domain's.
"""

from dataclasses import dataclass
from datetime import date, datetime

from rails.iso20022.documents import Element, Schemas, amount_text, maker

PAIN_001 = "pain.001.001.09"
PACS_008 = "pacs.008.001.08"
PACS_028 = "pacs.028.001.03"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A name in the SEPA character set, an account, and its bank where the message needs it."""

    name: str
    iban: str
    bic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTransfer:
    """One credit transfer on the wire. `reference` is message, instruction and end-to-end id in one.

    `accepted_at`: the instant the scheme's time-out counts from; only instant transfers have it.
    """

    reference: str
    uetr: str
    amount_minor: int
    currency: str
    created_at: datetime
    execution_date: date
    debtor: Party
    creditor: Party
    accepted_at: datetime | None = None


def render_pain_001(order: CreditTransfer, schemas: Schemas) -> bytes:
    """Return a file with one SEPA credit transfer.

    Raises:
        InvalidDocumentError: the order does not fit the message. Not retryable.
    """
    e = maker(PAIN_001)
    amount = amount_text(order.amount_minor, order.currency)
    transfer = e.CdtTrfTxInf(
        e.PmtId(e.InstrId(order.reference), e.EndToEndId(order.reference), e.UETR(order.uetr)),
        e.Amt(e.InstdAmt(amount, Ccy=order.currency)),
        *([e.CdtrAgt(e.FinInstnId(e.BICFI(order.creditor.bic)))] if order.creditor.bic else []),
        e.Cdtr(e.Nm(order.creditor.name)),
        e.CdtrAcct(e.Id(e.IBAN(order.creditor.iban))),
    )
    batch = e.PmtInf(
        e.PmtInfId(order.reference),
        e.PmtMtd("TRF"),
        # One booking for each transfer: a statement line is then one order.
        e.BtchBookg("false"),
        e.NbOfTxs("1"),
        e.CtrlSum(amount),
        e.PmtTpInf(e.SvcLvl(e.Cd("SEPA"))),
        e.ReqdExctnDt(e.Dt(order.execution_date.isoformat())),
        e.Dbtr(e.Nm(order.debtor.name)),
        e.DbtrAcct(e.Id(e.IBAN(order.debtor.iban))),
        e.DbtrAgt(_bank(e, order.debtor.bic)),
        e.ChrgBr("SLEV"),
        transfer,
    )
    header = e.GrpHdr(
        e.MsgId(order.reference),
        e.CreDtTm(_instant(order.created_at)),
        e.NbOfTxs("1"),
        e.CtrlSum(amount),
        e.InitgPty(e.Nm(order.debtor.name)),
    )
    return schemas.render(e.Document(e.CstmrCdtTrfInitn(header, batch)), PAIN_001)


def render_pacs_008(order: CreditTransfer, schemas: Schemas) -> bytes:
    """Return one SEPA instant credit transfer between banks.

    Raises:
        InvalidDocumentError: the order does not fit the message. Not retryable.
    """
    assert order.accepted_at is not None and order.debtor.bic and order.creditor.bic
    e = maker(PACS_008)
    amount = amount_text(order.amount_minor, order.currency)
    header = e.GrpHdr(
        e.MsgId(order.reference),
        e.CreDtTm(_instant(order.created_at)),
        e.NbOfTxs("1"),
        e.TtlIntrBkSttlmAmt(amount, Ccy=order.currency),
        e.IntrBkSttlmDt(order.execution_date.isoformat()),
        e.SttlmInf(e.SttlmMtd("CLRG")),
        e.PmtTpInf(e.SvcLvl(e.Cd("SEPA")), e.LclInstrm(e.Cd("INST"))),
    )
    transfer = e.CdtTrfTxInf(
        e.PmtId(e.InstrId(order.reference), e.EndToEndId(order.reference), e.TxId(order.reference), e.UETR(order.uetr)),
        e.IntrBkSttlmAmt(amount, Ccy=order.currency),
        e.AccptncDtTm(_instant(order.accepted_at)),
        e.ChrgBr("SLEV"),
        e.Dbtr(e.Nm(order.debtor.name)),
        e.DbtrAcct(e.Id(e.IBAN(order.debtor.iban))),
        e.DbtrAgt(_bank(e, order.debtor.bic)),
        e.CdtrAgt(_bank(e, order.creditor.bic)),
        e.Cdtr(e.Nm(order.creditor.name)),
        e.CdtrAcct(e.Id(e.IBAN(order.creditor.iban))),
    )
    return schemas.render(e.Document(e.FIToFICstmrCdtTrf(header, transfer)), PACS_008)


def render_pacs_028(*, reference: str, uetr: str, request_id: str, created_at: datetime, schemas: Schemas) -> bytes:
    """Return the question what became of an instant transfer. `request_id` is new for each question."""
    e = maker(PACS_028)
    header = e.GrpHdr(e.MsgId(request_id), e.CreDtTm(_instant(created_at)))
    original = e.OrgnlGrpInf(e.OrgnlMsgId(reference), e.OrgnlMsgNmId(PACS_008))
    transfer = e.TxInf(
        e.StsReqId(request_id),
        e.OrgnlInstrId(reference),
        e.OrgnlEndToEndId(reference),
        e.OrgnlTxId(reference),
        e.OrgnlUETR(uetr),
    )
    return schemas.render(e.Document(e.FIToFIPmtStsReq(header, original, transfer)), PACS_028)


def _bank(e: Element, bic: str | None) -> Element:
    return e.FinInstnId(e.BICFI(bic)) if bic else e.FinInstnId(e.Othr(e.Id("NOTPROVIDED")))


def _instant(moment: datetime) -> str:
    """Milliseconds are what schemes compare time-outs in."""
    return moment.isoformat(timespec="milliseconds")
